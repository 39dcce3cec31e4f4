// A Dockerfile that is read must hold its own lines, and can be linted, planned and expanded without a fault of ours; one
// that is refused says why, and where inside the file.
#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/lint.h"
#include "build/dockerfile/outline.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *build_arguments[] = { (char[]){ "a=1" }, (char[]){ "TARGETARCH=x" }, (char[]){ "empty=" },
                                   NULL },
            *contexts[] = { (char[]){ "a" }, (char[]){ "b:1" }, NULL };

static size_t lines_of(const uint8_t *data, size_t size)
{
    size_t count = 1;
    for (size_t i = 0; i < size; i++)
        count += data[i] == '\n';
    return count;
}

static void must_be_inside(struct dockerfile_lines lines, size_t count)
{
    if (lines.first > lines.last || lines.last > count)
        abort();
}

static void must_explain(const struct dockerfile_error *err, const char *text, size_t n)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    must_be_inside(err->lines, lines_of((const uint8_t *)text, n));
    if (!*err->cause.message || err->cause.kind == ERROR_NONE)
        abort();
    dockerfile_error_print(err, "Dockerfile", text, n, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dockerfile_inputs inputs = { .build_arguments = build_arguments,
                                              .build_platform = "linux/amd64",
                                              .target_platform = "linux/arm64/v8",
                                              .contexts = size & 1 ? contexts : NULL };
    const struct lint_options options = { 0 };
    const char *text = (const char *)data;
    struct dockerfile_outline outline;
    struct dockerfile_error err = { 0 };
    struct lint_report report;
    struct dockerfile file;
    if (dockerfile_read(text, size, &file, &err) < 0) {
        must_explain(&err, text, size);
        return 0;
    }
    for (size_t i = 0; i < file.stage_count; i++)
        for (size_t j = 0; j < file.stages[i].count; j++)
            must_be_inside(file.stages[i].instructions[j].lines, lines_of(data, size));
    dockerfile_done(&file);
    if (dockerfile_lint(text, size, &inputs, &options, &report, &err) < 0) {
        must_explain(&err, text, size);
    } else {
        if (report.has_error)
            must_explain(&report.error, text, size);
        lint_report_done(&report);
    }
    if (dockerfile_outline(text, size, &inputs, &outline, &err) < 0)
        must_explain(&err, text, size);
    else
        dockerfile_outline_done(&outline);
    return 0;
}
