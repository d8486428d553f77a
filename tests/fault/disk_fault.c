/* A disk that misbehaves on request: preload this library and write rules into the file that
 * DISK_FAULT_CONTROL names.
 *
 * The file is one page of 4096 bytes, mapped shared by both sides:
 *
 *   byte 0         0 while all calls pass, anything else while the rules count
 *   bytes 8..15    how many calls were made to fail or wait so far (64 bits, atomic)
 *   bytes 64..     rules, one a line, up to the first NUL:   OPERATION ACTION PATH
 *
 * OPERATION is `sync` (fsync, fdatasync) or `write` (write, pwrite, writev, fallocate); ACTION is
 * `eio` or `enospc` (fail with that error), or `hang` (wait until byte 0 is 0 again, then do it).
 * A rule counts for every open file whose path begins with PATH.
 *
 * The tester writes the rules first and byte 0 last. With no control file nothing is changed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { kPageBytes = 4096, kHitsAt = 8, kRulesAt = 64, kPathMax = 1024 };

static unsigned char* page; /* NULL: no faults */

__attribute__((constructor)) static void map_control_file(void) {
    const char* name = getenv("DISK_FAULT_CONTROL");
    if (name == NULL) return;
    int file = open(name, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void* mapped = mmap(NULL, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) page = mapped;
}

static int is_on(void) {
    return page != NULL && atomic_load((_Atomic unsigned char*)page) != 0;
}

/* The error that `operation` on the file must fail with now; 0 to go on. May wait. */
static int fault(const char* operation, int file) {
    if (!is_on()) return 0;
    int saved_errno = errno;
    char link[64];
    char path[kPathMax];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved_errno;
    if (length <= 0) return 0;
    path[length] = '\0';

    char rules[kPageBytes - kRulesAt + 1];
    memcpy(rules, page + kRulesAt, sizeof rules - 1);
    rules[sizeof rules - 1] = '\0';
    char* rest = NULL;
    for (char* line = strtok_r(rules, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char* words = NULL;
        const char* rule_operation = strtok_r(line, " ", &words);
        const char* action = strtok_r(NULL, " ", &words);
        const char* prefix = words;
        if (rule_operation == NULL || action == NULL || prefix == NULL) continue;
        if (strcmp(rule_operation, operation) != 0) continue;
        if (strncmp(path, prefix, strlen(prefix)) != 0) continue;
        atomic_fetch_add((_Atomic uint64_t*)(void*)(page + kHitsAt), 1);
        if (strcmp(action, "eio") == 0) return EIO;
        if (strcmp(action, "enospc") == 0) return ENOSPC;
        while (is_on()) {
            struct timespec pause = {0, 2000000};
            nanosleep(&pause, NULL);
        }
        errno = saved_errno;
        return 0;
    }
    return 0;
}

/* The function of that name behind ours. A copy, since ISO C has no cast from void* for it. */
#define REAL(name, type)                                   \
    static type real;                                      \
    if (real == NULL) {                                    \
        void* found = dlsym(RTLD_NEXT, name);              \
        if (found == NULL) abort();                        \
        memcpy(&real, &found, sizeof real);                \
    }

#define FAIL_IF_TOLD(operation, file)                      \
    int error = fault(operation, file);                    \
    if (error != 0) {                                      \
        errno = error;                                     \
        return -1;                                         \
    }

typedef int (*SyncFunction)(int);
typedef ssize_t (*WriteFunction)(int, const void*, size_t);
typedef ssize_t (*PwriteFunction)(int, const void*, size_t, off_t);
typedef ssize_t (*WritevFunction)(int, const struct iovec*, int);
typedef int (*FallocateFunction)(int, int, off_t, off_t);
typedef int (*PosixFallocateFunction)(int, off_t, off_t);

int fsync(int file) {
    REAL("fsync", SyncFunction)
    FAIL_IF_TOLD("sync", file)
    return real(file);
}

int fdatasync(int file) {
    REAL("fdatasync", SyncFunction)
    FAIL_IF_TOLD("sync", file)
    return real(file);
}

ssize_t write(int file, const void* data, size_t size) {
    REAL("write", WriteFunction)
    FAIL_IF_TOLD("write", file)
    return real(file, data, size);
}

ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
    REAL("pwrite", PwriteFunction)
    FAIL_IF_TOLD("write", file)
    return real(file, data, size, at);
}

ssize_t pwrite64(int file, const void* data, size_t size, off64_t at) {
    REAL("pwrite64", PwriteFunction)
    FAIL_IF_TOLD("write", file)
    return real(file, data, size, at);
}

ssize_t writev(int file, const struct iovec* parts, int count) {
    REAL("writev", WritevFunction)
    FAIL_IF_TOLD("write", file)
    return real(file, parts, count);
}

int fallocate(int file, int mode, off_t at, off_t size) {
    REAL("fallocate", FallocateFunction)
    FAIL_IF_TOLD("write", file)
    return real(file, mode, at, size);
}

/* This one returns its error. */
int posix_fallocate(int file, off_t at, off_t size) {
    REAL("posix_fallocate", PosixFallocateFunction)
    int error = fault("write", file);
    return error != 0 ? error : real(file, at, size);
}
