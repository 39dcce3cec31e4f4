// Functions that invite overflow, races or surprise; included by the compiler into every file (-include).
#pragma once

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef basename
#undef strcpy
#undef strcat
#undef strncat
#undef strncpy
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef atol
#undef system
#undef gmtime
#undef localtime
#undef ctime
#pragma GCC poison strcpy strcat strncat strncpy sprintf vsprintf strtok atoi atol system gmtime localtime \
    ctime tmpnam mktemp
