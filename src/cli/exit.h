// Exit codes of run: the one table.
#pragma once

// The code for an engine that refused to start a container, out of its message: 127 when the command was not
// found, 126 when it is there but cannot be executed, 125 for everything else. Spec: docker-run(1), EXIT
// STATUS.
int exit_code_of_start_error(const char *message);
