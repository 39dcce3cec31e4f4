#include "cli/progress.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "cli/human.h"
#include "codec/json.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct view {
    int fd;
    bool is_terminal, is_quiet;
    size_t columns;
    char **ids; // strv: the line of each id, from the top
    struct error *err;
};

// "[====>      ]  1.2MB/3.4MB", or "" when there is nothing to count.
static void append_bar(struct str *out, const json_t *detail, size_t columns)
{
    int64_t current = json_get_int(detail, "current", 0), total = json_get_int(detail, "total", 0);
    char now[HUMAN_MAX], all[HUMAN_MAX];
    const char *units = json_get_string(detail, "units", NULL);
    if (current <= 0 && total <= 0)
        return;
    if (units && *units) {
        str_appendf(out, "%" PRId64, current);
        if (total > 0)
            str_appendf(out, "/%" PRId64, total);
        str_appendf(out, " %s", units);
        return;
    }
    human_size((double)current, 4, now);
    human_size((double)total, 4, all);
    if (total <= 0) {
        str_appendf(out, "%8s", now);
        return;
    }
    size_t done = (size_t)((double)current / (double)total * 50.0);
    done = done > 50 ? 50 : done;
    if (columns > 110) {
        static const char dashes[] = "==================================================";
        str_appendf(out, "[%.*s", (int)done, dashes);
        str_appendf(out, ">%*s] ", (int)(50 - done), "");
    }
    str_appendf(out, "%8s", now);
    if (current <= total)
        str_appendf(out, "/%s", all);
}

// Index of the id's line counted from the top; adds one at the bottom when new.
static size_t line_of(struct view *view, const char *id, bool *is_new)
{
    size_t n = strv_len(view->ids);
    for (size_t i = 0; i < n; i++)
        if (streq(view->ids[i], id)) {
            *is_new = false;
            return i;
        }
    *is_new = true;
    strv_push(&view->ids, id);
    return n;
}

static void show_on_terminal(struct view *view, const char *id, const char *text)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    bool is_new;
    if (!id) {
        str_appendf(&out, "%s\n", text);
        strv_free(view->ids); // lines above this one are done with
        view->ids = NULL;
    } else {
        size_t at = line_of(view, id, &is_new), up = strv_len(view->ids) - at;
        if (is_new)
            str_appendf(&out, "\n\x1b[1A\x1b[2K\r%s: %s\r\x1b[1B", id, text);
        else
            str_appendf(&out, "\x1b[%zuA\x1b[2K\r%s: %s\r\x1b[%zuB", up, id, text, up);
    }
    (void)fd_write_all(view->fd, out.ptr, out.len);
}

static int show_document(void *context, json_t *document)
{
    struct view *view = context;
    const json_t *detail = json_get_object(document, "progressDetail");
    const char *id = json_get_string(document, "id", NULL),
               *status = json_get_string(document, "status", NULL);
    const char *raw = json_get_string(document, "stream", NULL);
    const char *error = json_get_string(json_get_object(document, "errorDetail"), "message",
                                        json_get_string(document, "error", NULL));
    struct str line CLEANUP(str_done) = STR_INIT;
    if (error)
        return error_set(view->err, ERROR_INTERNAL, "%s", error);
    if (view->is_quiet)
        return 0;
    if (raw) {
        (void)fd_write_all(view->fd, raw, strlen(raw));
        return 0;
    }
    if (!status)
        return 0;
    bool counts = json_get_int(detail, "current", 0) > 0 || json_get_int(detail, "total", 0) > 0;
    str_append(&line, status);
    if (view->is_terminal) {
        str_append(&line, counts ? " " : "");
        append_bar(&line, detail, view->columns);
        show_on_terminal(view, str_is_empty(id) ? NULL : id, line.ptr);
    } else if (!counts) { // a file gets what happened, not how far it went
        struct str text CLEANUP(str_done) = STR_INIT;
        str_appendf(&text, "%s%s%s\n", str_is_empty(id) ? "" : id, str_is_empty(id) ? "" : ": ", line.ptr);
        (void)fd_write_all(view->fd, text.ptr, text.len);
    }
    return 0;
}

int progress_show(const struct client_stream *stream, int fd, bool is_quiet, struct error *err)
{
    struct winsize size;
    struct view view = { .fd = fd, .is_quiet = is_quiet, .columns = 80, .err = err };
    view.is_terminal = !is_quiet && isatty(fd) == 1;
    if (view.is_terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
        view.columns = size.ws_col;
    int r = client_each_document(stream->body, show_document, &view, err);
    strv_free(view.ids);
    return r;
}
