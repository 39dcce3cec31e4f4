// A store in memory behind store/meta.h, so that the network service can be tested without a database.
#include "memory_store.h"

#include "store/meta.h"

static json_t *tables; // table -> key -> document

void memory_store_clear(void)
{
    json_decref(tables);
    tables = NULL;
}

int meta_put(struct store *store, const char *table, const char *key, const json_t *document,
             struct error *err)
{
    (void)store, (void)err;
    if (tables == NULL)
        tables = json_object();
    json_t *rows = json_object_get(tables, table);
    if (rows == NULL) {
        rows = json_object();
        json_object_set_new(tables, table, rows);
    }
    return json_object_set_new(rows, key, json_deep_copy(document));
}

int meta_delete(struct store *store, const char *table, const char *key, struct error *err)
{
    (void)store, (void)err;
    json_object_del(json_object_get(tables, table), key);
    return 0;
}

int meta_each(struct store *store, const char *table,
              int (*visit)(void *context, const char *key, const json_t *document), void *context,
              struct error *err)
{
    (void)store, (void)err;
    const char *key;
    json_t *document;
    json_object_foreach(json_object_get(tables, table), key, document)
    {
        int rc = visit(context, key, document);
        if (rc < 0)
            return rc;
    }
    return 0;
}
