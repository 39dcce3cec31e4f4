// Theory of operation. POST opens an upload and names its place (Location), every answer after it names the next one. A piece goes
// as one PATCH out of the caller's memory, so that after a broken connection what the registry lacks of it can be sent again:
// GET on the place says how much it has. If that lies before the piece, bytes are lost that nobody holds any more, and the
// upload fails; the caller begins anew. Credentials follow the rules of session.c: a place on another host gets none.
#include "registry/client/upload.h"

#include "base/mem.h"
#include "registry/client/session.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { ATTEMPTS_MAX = 5, BACKOFF_FIRST_MS = 100, ERROR_STATUS_RANGE = 416 };

struct registry_upload {
    struct registry_repository *repository;
    struct transfer *transfer; // kept for the whole upload: one connection
    char *place;               // whole URL of the next request
    uint64_t position;         // bytes that the registry has acknowledged
    uint64_t piece_min;
    struct registry_upload_progress progress;
    uint64_t request_from; // position of the first byte of the request under way
    bool is_finished;
};

int registry_blob_stat(struct registry_repository *repository, const char *digest, uint64_t *ret_size,
                       struct error *err)
{
    CLEANUP(cleanup_free) char *path = xasprintf("/v2/%s/blobs/%s", repository->name, digest);
    struct session_request request = { .method = "HEAD", .path = path };
    struct transfer *transfer = session_take_transfer(repository);
    int r = session_send(repository, transfer, &request, NULL, err);
    if (ret_size)
        *ret_size = r == 0 && transfer->content_length > 0 ? (uint64_t)transfer->content_length : 0;
    session_give_transfer(repository, transfer);
    if (r == 0)
        return 1;
    return err->kind == ERROR_NOT_FOUND ? 0 : -1;
}

// --- one upload
static void note_sent(void *context, uint64_t n)
{
    struct registry_upload *upload = context;
    if (upload->progress.sent)
        upload->progress.sent(upload->progress.context, upload->request_from + n);
}

static int keep_place(struct registry_upload *upload, const char *url, struct error *err)
{
    const struct transfer *transfer = upload->transfer;
    char *place = transfer->location ? url_resolve(url, transfer->location) : NULL;
    if (!place && transfer->location)
        return error_set(err, ERROR_INVALID, "registry names no usable place for an upload: %s",
                         transfer->location);
    if (place) {
        free(upload->place);
        upload->place = place;
    }
    if (transfer->chunk_min)
        upload->piece_min = transfer->chunk_min;
    return upload->place ? 0 : error_set(err, ERROR_INVALID, "registry opened an upload without a place");
}

// A request of this upload; on success the next place is known and the answer read.
static int ask(struct registry_upload *upload, const struct session_request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *url = NULL;
    CLEANUP(str_done) struct str ignored = STR_INIT;
    struct error unimportant;
    if (session_send(upload->repository, upload->transfer, request, &url, err) < 0 ||
        keep_place(upload, url, err) < 0)
        return -1;
    (void)transfer_read_all(upload->transfer, 64 * 1024, &ignored, &unimportant); // keeps the connection
    return 0;
}

static char *begin_path(const struct registry_repository *repository, const char *mount_digest,
                        const char *mount_from)
{
    struct str path = STR_INIT;
    str_appendf(&path, "/v2/%s/blobs/uploads/", repository->name);
    if (mount_digest) {
        str_append(&path, "?mount=");
        auth_append_escaped(&path, mount_digest);
    }
    if (mount_digest && mount_from) {
        str_append(&path, "&from=");
        auth_append_escaped(&path, mount_from);
    }
    return str_take(&path);
}

int registry_upload_begin(struct registry_repository *repository, const char *mount_digest,
                          const char *mount_from, const struct registry_upload_progress *progress,
                          struct registry_upload **ret, struct error *err)
{
    CLEANUP(cleanup_free) char *path = begin_path(repository, mount_digest, mount_from);
    struct session_request request = { .method = "POST", .path = path };
    struct registry_upload *upload = NEW(struct registry_upload);
    upload->repository = repository;
    upload->transfer = session_take_transfer(repository);
    upload->is_finished = true; // until there is something to give up
    if (progress)
        upload->progress = *progress;
    *ret = NULL;
    if (ask(upload, &request, err) < 0) {
        registry_upload_close(upload);
        return -1;
    }
    if (mount_digest && upload->transfer->status == 201) {
        registry_upload_close(upload);
        return 0;
    }
    upload->is_finished = false;
    *ret = upload;
    return 0;
}

uint64_t registry_upload_piece_min(const struct registry_upload *upload)
{
    return upload->piece_min;
}

static bool is_cancelled(const struct registry_repository *repository)
{
    const struct registry_options *options = &repository->options;
    return options->is_cancelled && options->is_cancelled(options->context);
}

static bool may_try_again(const struct registry_upload *upload, unsigned attempt, const struct error *err)
{
    if (err->kind != ERROR_UNAVAILABLE || attempt >= ATTEMPTS_MAX)
        return false;
    for (int slices = 1 << (attempt - 1); slices > 0; slices--) {
        struct timespec pause = { .tv_nsec = BACKOFF_FIRST_MS * 1000000L };
        if (is_cancelled(upload->repository))
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

// Ask how much the registry has. *ret_position. Some answer 204 without a Range while they have nothing.
static int ask_position(struct registry_upload *upload, uint64_t *ret_position, struct error *err)
{
    struct session_request request = { .method = "GET", .path = upload->place };
    if (ask(upload, &request, err) < 0)
        return -1;
    *ret_position = upload->transfer->received > 0 ? (uint64_t)upload->transfer->received : 0;
    // "Range: 0-0" stands for nothing in some registries and for one byte in others: both can be taken up from nothing only
    // when nothing was acknowledged before.
    if (*ret_position == 1 && upload->position == 0)
        *ret_position = 0;
    return 0;
}

static int send_piece(struct registry_upload *upload, const char *bytes, size_t n, struct error *err)
{
    CLEANUP(cleanup_free)
    char *range =
        xasprintf("Content-Range: %" PRIu64 "-%" PRIu64, upload->position, upload->position + n - 1);
    char *headers[] = { range, (char[]){ "Content-Type: application/octet-stream" }, NULL };
    struct session_request request = { .method = "PATCH",
                                       .path = upload->place,
                                       .headers = headers,
                                       .body = bytes,
                                       .body_n = n,
                                       .on_sent = note_sent,
                                       .sent_context = upload };
    upload->request_from = upload->position;
    return ask(upload, &request, err);
}

// After a failure: where in the piece [from, from + n) does the registry stand?
static int take_up(struct registry_upload *upload, uint64_t from, size_t n, struct error *err)
{
    struct error why = *err;
    uint64_t position;
    if (ask_position(upload, &position, err) < 0)
        return err->kind == ERROR_UNAVAILABLE || err->kind == ERROR_CANCELLED ? -1 : (*err = why, -1);
    if (position < from || position > from + n)
        return error_set(err, ERROR_IO,
                         "blob upload cannot be resumed: the registry has %" PRIu64 " of %" PRIu64
                         " bytes: %.300s",
                         position, from, why.message);
    upload->position = position;
    return 0;
}

static bool is_refusal_of_pieces(const struct registry_upload *upload, const struct error *err)
{
    int status = upload->transfer->status;
    return err->kind == ERROR_UNAVAILABLE &&
           (status == 405 || status == 501 || status == ERROR_STATUS_RANGE || status == 400);
}

int registry_upload_piece(struct registry_upload *upload, const void *bytes, size_t n, struct error *err)
{
    uint64_t from = upload->position;
    for (unsigned attempt = 1; upload->position < from + n;) {
        size_t done = (size_t)(upload->position - from);
        if (send_piece(upload, (const char *)bytes + done, n - done, err) == 0) {
            upload->position = from + n;
            return 0;
        }
        if (is_refusal_of_pieces(upload, err))
            return error_set(err, ERROR_UNSUPPORTED, "registry takes blobs in one piece only");
        do {
            if (!may_try_again(upload, attempt++, err))
                return -1;
        } while (take_up(upload, from, n, err) < 0);
    }
    return 0;
}

static char *finish_url(const struct registry_upload *upload, const char *digest)
{
    struct str url = STR_INIT;
    str_append(&url, upload->place);
    str_append(&url, strchr(upload->place, '?') ? "&digest=" : "?digest=");
    auth_append_escaped(&url, digest);
    return str_take(&url);
}

static int put_last(struct registry_upload *upload, const void *bytes, size_t n, const char *digest,
                    struct error *err)
{
    CLEANUP(cleanup_free) char *url = finish_url(upload, digest);
    CLEANUP(cleanup_free)
    char *range = n && upload->position ? xasprintf("Content-Range: %" PRIu64 "-%" PRIu64, upload->position,
                                                    upload->position + n - 1)
                                        : NULL;
    char *headers[] = { (char[]){ "Content-Type: application/octet-stream" }, range, NULL };
    struct session_request request = { .method = "PUT",
                                       .path = url,
                                       .headers = headers,
                                       .body = n ? bytes : NULL,
                                       .body_n = n,
                                       .on_sent = note_sent,
                                       .sent_context = upload };
    upload->request_from = upload->position;
    return session_send(upload->repository, upload->transfer, &request, NULL, err);
}

int registry_upload_finish(struct registry_upload *upload, const void *bytes, size_t n, const char *digest,
                           struct error *err)
{
    uint64_t from = upload->position;
    for (unsigned attempt = 1;;) {
        size_t done = (size_t)(upload->position - from);
        if (put_last(upload, (const char *)bytes + done, n - done, digest, err) == 0) {
            upload->is_finished = true;
            return 0;
        }
        do {
            if (!may_try_again(upload, attempt++, err))
                return -1;
            // The answer alone may have been lost.
            struct error ignored;
            if (registry_blob_stat(upload->repository, digest, NULL, &ignored) > 0) {
                upload->is_finished = true;
                return 0;
            }
        } while (take_up(upload, from, n, err) < 0);
    }
}

int registry_upload_whole(struct registry_upload *upload, const struct reader *stream, uint64_t n,
                          const char *digest, struct error *err)
{
    CLEANUP(cleanup_free) char *url = finish_url(upload, digest);
    char *headers[] = { (char[]){ "Content-Type: application/octet-stream" }, NULL };
    struct session_request request = { .method = "PUT",
                                       .path = url,
                                       .headers = headers,
                                       .stream = stream,
                                       .body_n = (size_t)n,
                                       .on_sent = note_sent,
                                       .sent_context = upload };
    upload->request_from = 0;
    if (session_send(upload->repository, upload->transfer, &request, NULL, err) < 0)
        return -1;
    upload->is_finished = true;
    return 0;
}

// Nobody is there to wait for it: one try, without asking whether the push was cancelled.
static void give_up(struct registry_upload *upload)
{
    struct session_request request = { .method = "DELETE", .path = upload->place, .is_unconditional = true };
    struct error ignored;
    transfer_end(upload->transfer);
    (void)session_send(upload->repository, upload->transfer, &request, NULL, &ignored);
}

void registry_upload_close(struct registry_upload *upload)
{
    if (!upload)
        return;
    if (!upload->is_finished && upload->place)
        give_up(upload);
    session_give_transfer(upload->repository, upload->transfer);
    free(upload->place);
    free(upload);
}

// --- manifests
int registry_manifest_put(struct registry_repository *repository, const char *tag_or_digest,
                          const char *media_type, const void *bytes, size_t n, struct error *err)
{
    CLEANUP(cleanup_free) char *path = xasprintf("/v2/%s/manifests/%s", repository->name, tag_or_digest);
    CLEANUP(cleanup_free) char *type = xasprintf("Content-Type: %s", media_type);
    char *headers[] = { type, NULL };
    struct session_request request = {
        .method = "PUT", .path = path, .headers = headers, .body = bytes, .body_n = n
    };
    struct transfer *transfer = session_take_transfer(repository);
    int r = session_send(repository, transfer, &request, NULL, err);
    session_give_transfer(repository, transfer);
    return r;
}
