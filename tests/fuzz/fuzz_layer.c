// Layers applied to a real store (in memory). Whatever the tar says: what stands beside the store is untouched, a layer that
// was taken is rebuilt bit for bit, and one that was refused leaves nothing. Header checksums are set right, so that the
// fuzzer gets past them.
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/tar.h"
#include "store/layer.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct store *store;
static char folder[64], canary[96];

static void remove_folder(void)
{
    store_close(store);
    (void)dir_remove_all_at(AT_FDCWD, folder);
}

static void open_once(void)
{
    struct error err;
    if (store)
        return;
    (void)snprintf(folder, sizeof folder, "%s/skiff-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder))
        abort();
    (void)snprintf(canary, sizeof canary, "%s/canary", folder);
    char *root CLEANUP(cleanup_free) = xasprintf("%s/root", folder);
    if (file_replace_at(AT_FDCWD, canary, 0600, "alive", 5, false) < 0 || store_open(root, &store, &err) < 0)
        abort();
    (void)atexit(remove_folder);
}

static void set_checksums(uint8_t *tar, size_t size)
{
    for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
        uint8_t *h = tar + at;
        unsigned sum = 0;
        if (memcmp(h + 257, "ustar", 5) != 0)
            continue;
        memset(h + 148, ' ', 8);
        for (int i = 0; i < TAR_BLOCK; i++)
            sum += h[i];
        for (int i = 5; i >= 0; i--, sum >>= 3)
            h[148 + i] = (uint8_t)('0' + (sum & 7));
        h[154] = 0;
    }
}

struct memory {
    const uint8_t *bytes;
    size_t n, at;
};

static ssize_t memory_read(void *context, void *buffer, size_t n)
{
    struct memory *m = context;
    n = n < m->n - m->at ? n : m->n - m->at;
    memcpy(buffer, m->bytes + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

static bool is_compressed(const uint8_t *data, size_t size)
{
    return size >= 4 && (memcmp(data, "\x1f\x8b", 2) == 0 || memcmp(data + 1, "\xb5\x2f\xfd", 3) == 0 ||
                         memcmp(data + 1, "\x2a\x4d\x18", 3) == 0);
}

static void check_canary(void)
{
    struct str s CLEANUP(str_done) = STR_INIT;
    struct stat st;
    if (file_read_at(AT_FDCWD, canary, 100, &s) < 0 || !streq(s.ptr, "alive") || stat(canary, &st) < 0 ||
        st.st_nlink != 1 || (st.st_mode & 07777) != 0600)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct layer_limits limits = { .max_bytes = 1 << 20, .max_entries = 1000 };
    struct layer_info info;
    struct error err;
    uint8_t *tar CLEANUP(cleanup_free) = xmemdup(data, size);
    open_once();
    set_checksums(tar, size);
    struct memory m = { tar, size, 0 };
    int r = layer_unpack(store, (struct reader){ memory_read, &m }, NULL, &limits, &info, &err);
    check_canary();
    if (r < 0)
        return 0;
    struct str out CLEANUP(str_done) = STR_INIT;
    if (layer_pack(store, info.diff_id, writer_to_str(&out), &err) < 0)
        abort();
    if (!is_compressed(data, size) && (out.len != size || memcmp(out.ptr, tar, size) != 0))
        abort();
    if (layer_delete(store, info.diff_id, &err) < 0)
        abort();
    return 0;
}
