// A driver without a GPU, for the real CuPy: it has the version STUB_CUDA, and cuInit() gives STUB_INIT. The CUDA runtime
// asks it for functions by name; all but a few answer as cuInit() does.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int number(const char* name) { return atoi(getenv(name)); }
static int other(void) { return number("STUB_INIT"); }

int cuInit(unsigned flags) {
    (void)flags;
    return number("STUB_INIT");
}

int cuDriverGetVersion(int* version) {
    *version = number("STUB_CUDA");
    return 0;
}

int cuDeviceGetCount(int* count) {
    *count = 0;
    return 0;
}

// A table of functions that begins with its size.
int cuGetExportTable(const void** table, const void* id) {
    static size_t entries[64];
    (void)id;
    entries[0] = sizeof entries;
    for (size_t i = 1; i < 64; ++i) entries[i] = (size_t)other;
    *table = entries;
    return 0;
}

int cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long flags, int* status) {
    (void)version, (void)flags;
    if (status) *status = 0;
    if (!strcmp(name, "cuDriverGetVersion"))
        *function = (void*)cuDriverGetVersion;
    else if (!strcmp(name, "cuInit"))
        *function = (void*)cuInit;
    else if (!strcmp(name, "cuDeviceGetCount"))
        *function = (void*)cuDeviceGetCount;
    else if (!strcmp(name, "cuGetExportTable"))
        *function = (void*)cuGetExportTable;
    else if (!strncmp(name, "cuGetProcAddress", 16))
        *function = (void*)cuGetProcAddress_v2;
    else
        *function = (void*)other;
    return 0;
}

int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
