#include "cli/exit.h"

#include "cli/cli.h"

#include <string.h>

int exit_code_of_start_error(const char *message)
{
    static const struct {
        const char *text;
        int code;
    } rules[] = {
        { "executable file not found", EXIT_NOT_FOUND },
        { "no such file or directory", EXIT_NOT_FOUND },
        { "system cannot find the file specified", EXIT_NOT_FOUND },
        { "permission denied", EXIT_NOT_EXECUTABLE },
        { "is a directory", EXIT_NOT_EXECUTABLE },
        { "exec format error", EXIT_NOT_EXECUTABLE },
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcasestr(message, rules[i].text))
            return rules[i].code;
    return EXIT_ENGINE_ERROR;
}
