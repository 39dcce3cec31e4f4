// Runs a fuzz target over the files of the folder named by the first argument: the corpus as a regression
// test.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buffer[1 << 20];

int main(int argc, char **argv)
{
    DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
    unsigned files = 0;
    if (!d)
        return 2;
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!f)
            continue;
        size_t n = fread(buffer, 1, sizeof buffer, f);
        (void)fclose(f);
        // An exact allocation, so that a sanitizer sees a read past the end.
        uint8_t *exact = malloc(n ? n : 1);
        for (size_t i = 0; exact && i < n; i++)
            exact[i] = buffer[i];
        (void)LLVMFuzzerTestOneInput(exact, n);
        free(exact);
        files++;
    }
    (void)closedir(d);
    printf("%u inputs\n", files);
    return files > 0 ? 0 : 1;
}
