// Records kept in memory; store/meta.h's functions act on them, whatever store they are given.
#pragma once

// Forget every record.
void memory_store_clear(void);
