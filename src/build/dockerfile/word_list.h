// A strv under construction that knows its length: a statement may have hundreds of thousands of words.
#pragma once

#include "base/mem.h"

struct word_list {
    char **words; // NULL while empty
    size_t count;
};

// Append; takes the word.
static inline void word_list_take(struct word_list *list, char *word)
{
    if ((list->count & (list->count + 1)) == 0)
        list->words = xreallocarray(list->words, 2 * (list->count + 1), sizeof *list->words);
    list->words[list->count++] = word;
    list->words[list->count] = NULL;
}
