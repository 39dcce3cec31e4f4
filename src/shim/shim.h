// The monitor of one container: sets it up, holds its terminal or pipes, writes its log, reaps it, records
// its exit. Single-threaded, static, independent of skiffd once it runs (shimproto/shimproto.h is the
// conversation).
#pragma once

// The whole life of skiff-shim: CREATE is expected on SHIM_CONTROL_FD. Returns the program's exit status: 0
// when the container ran and ended, 1 when it never started.
// `title` (may be NULL) is memory that `ps` shows: the socket path is written over it. `cgroup_parent` (may be NULL) is
// where a container's cgroup will most likely be wanted: its first process is prepared there before CREATE comes.
int shim_main(char *title, const char *cgroup_parent);
