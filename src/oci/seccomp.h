// linux.seccomp of the OCI runtime config -> a BPF program. Compiling costs over a millisecond, so skiffd does it once per
// (profile, capabilities, architecture) and keeps the bytes; the shim only loads them.
// Spec: runtime-spec config-linux.md "Seccomp".
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

// *ret_program: owned bytes, an array of struct sock_filter; *ret_size in bytes. ERROR_INVALID: bad profile.
// Unknown system call names are skipped, as runc does. Unknown-to-the-profile new calls answer ENOSYS, not EPERM.
int oci_seccomp_compile(const json_t *seccomp, void **ret_program, size_t *ret_size, struct error *err);
