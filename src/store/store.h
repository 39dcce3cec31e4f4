// The store on disk, below --data-root. Order of truth: data written and synced, directory renamed into place, then recorded
// in the database; what is not recorded is garbage that store_open removes.
//
//   meta.db                    SQLite, WAL: every record (store/meta.h)
//   blobs/sha256/<hex>         manifests and image configurations (store/content.h)
//   layers/<diff id hex>/fs    unpacked layer, plain owners; overlay lower directory
//   layers/<diff id hex>/split what is needed to rebuild its tar bit for bit (store/layer.h)
//   layers/.init/fs            mount points, laid over every image (store/init_layer.c)
//   containers/<id>/           upper, work, log, hosts, ... of one container (container/)
//   volumes/<name>/_data       what containers see of a volume (volume/)
//   tmp/                       staging; emptied at start
#pragma once

#include "base/error.h"

struct store;

// Open or create; takes an exclusive lock on the root (ERROR_CONFLICT "data root ... is in use by pid N"), removes leavings.
// Directories are 0700, above all those of layers and containers: the host's users must not run an image's set-user-id programs.
int store_open(const char *root, struct store **ret, struct error *err);
void store_close(struct store *store);
const char *store_root(const struct store *store); // absolute
int store_root_fd(const struct store *store);      // O_PATH directory, borrowed
