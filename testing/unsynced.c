/* A disk that loses what was not synced, and a wall clock that jumps, for one process: LD_PRELOAD this.
 *
 * What a process does to files under NAVARCH_DISK is noted in the file NAVARCH_DISK_UNDO beforehand, with what undoes
 * it; a sync is noted when it is done. `testing/unsynced.py` undoes after a kill what no sync covers. An inode that was
 * written to is kept by a link in NAVARCH_DISK_LINKS, so that it can be found whatever its names became.
 * The eight bytes in the file NAVARCH_CLOCK are nanoseconds by which the wall clock is off; the monotonic one is not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITTEN = 1, SYNCED, CREATED, RENAMED, UNLINKED, DIRECTORY_SYNCED };

struct record {
    uint64_t kind, inode, offset, size_before, upto, length; /* then `length` bytes */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *disk, *links;
static int undo = -1;
static volatile int64_t *clock_offset;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static void give_up(const char *what) {
    dprintf(2, "unsynced.c: %s: %s\n", what, strerror(errno));
    _exit(70);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("NAVARCH_DISK_UNDO"), *clock_path = getenv("NAVARCH_CLOCK");
    links = getenv("NAVARCH_DISK_LINKS");
    if (path && links && getenv("NAVARCH_DISK")) {
        undo = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (undo < 0) give_up(path);
        disk = getenv("NAVARCH_DISK");
    }
    if (clock_path) {
        int fd = REAL(open)(clock_path, O_RDONLY | O_CLOEXEC);
        void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (shared == MAP_FAILED) give_up(clock_path);
        clock_offset = shared;
    }
}

static int ours(const char *path) { return disk && !strncmp(path, disk, strlen(disk)); }

/* The path of a descriptor; whether it is ours. */
static int locate(int fd, char *path) {
    char name[64];
    if (!disk || fd < 0 || fd == undo) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return ours(path);
}

static void note(struct record record, const void *data) {
    struct iovec parts[] = {{&record, sizeof record}, {(void *)data, record.length}};
    if (REAL(writev)(undo, parts, 2) != (ssize_t)(sizeof record + record.length)) give_up("undo log");
}

static uint64_t position(void) { return lseek(undo, 0, SEEK_END); }

static void keep(int fd, uint64_t inode) {
    char from[64], to[PATH_MAX];
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/%llu", links, (unsigned long long)inode);
    if (linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST && errno != ENOENT)
        give_up(to);
}

/* Before these bytes of a file change, or its size does. Called with the lock held. */
static void before_write(int fd, uint64_t offset, uint64_t length) {
    char path[PATH_MAX];
    struct stat st;
    if (!locate(fd, path) || (fcntl(fd, F_GETFL) & (O_DSYNC | O_SYNC))) return;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
    keep(fd, st.st_ino);
    uint64_t size = st.st_size, end = offset + length < size ? offset + length : size;
    struct record record = {WRITTEN, st.st_ino, offset, size, 0, end > offset ? end - offset : 0};
    char *old = malloc(record.length + 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int source = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (record.length && pread(source, old, record.length, offset) != (ssize_t)record.length) give_up("read before write");
    close(source);
    note(record, old);
    free(old);
}

static uint64_t current(int fd) {
    struct stat st;
    if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &st) == 0 ? st.st_size : 0;
    return lseek(fd, 0, SEEK_CUR);
}

static size_t total(const struct iovec *parts, int count) {
    size_t sum = 0;
    while (count-- > 0) sum += parts[count].iov_len;
    return sum;
}

#define GUARDED(type, prepare, call)     \
    if (!disk) return call;              \
    int saved = errno;                   \
    pthread_mutex_lock(&lock);           \
    prepare;                             \
    errno = saved;                       \
    type result = call;                  \
    saved = errno;                       \
    pthread_mutex_unlock(&lock);         \
    errno = saved;                       \
    return result;

/* Pipes and sockets are not waited for with the lock held. */
static int plain(int fd) {
    char path[PATH_MAX];
    return !locate(fd, path);
}

ssize_t write(int fd, const void *data, size_t n) {
    if (plain(fd)) return REAL(write)(fd, data, n);
    GUARDED(ssize_t, before_write(fd, current(fd), n), REAL(write)(fd, data, n))
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    if (plain(fd)) return REAL(writev)(fd, parts, n);
    GUARDED(ssize_t, before_write(fd, current(fd), total(parts, n)), REAL(writev)(fd, parts, n))
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    GUARDED(ssize_t, before_write(fd, at, n), REAL(pwrite)(fd, data, n, at))
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { return pwrite(fd, data, n, at); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
    GUARDED(ssize_t, before_write(fd, at, total(parts, n)), REAL(pwritev)(fd, parts, n, at))
}
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) { return pwritev(fd, parts, n, at); }

static void before_resize(int fd, uint64_t size) {
    struct stat st;
    if (fstat(fd, &st) == 0) before_write(fd, size, (uint64_t)st.st_size > size ? st.st_size - size : 0);
}
int ftruncate(int fd, off_t size) { GUARDED(int, before_resize(fd, size), REAL(ftruncate)(fd, size)) }
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int posix_fallocate(int fd, off_t at, off_t n) {
    GUARDED(int, before_write(fd, at, 0), REAL(posix_fallocate)(fd, at, n))
}
int posix_fallocate64(int fd, off64_t at, off64_t n) { return posix_fallocate(fd, at, n); }

static int synced(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    struct stat st;
    if (!locate(fd, path)) return sync(fd);
    pthread_mutex_lock(&lock);
    uint64_t upto = position();
    pthread_mutex_unlock(&lock);
    int result = sync(fd), saved = errno;
    if (result == 0 && fstat(fd, &st) == 0) {
        int directory = S_ISDIR(st.st_mode);
        pthread_mutex_lock(&lock);
        note((struct record){directory ? DIRECTORY_SYNCED : SYNCED, st.st_ino, 0, 0, upto,
                             directory ? strlen(path) : 0}, path);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return result;
}
int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

/* Names. */

static void before_name(uint64_t kind, const char *path, const char *second) {
    struct stat st;
    uint64_t inode = 0;
    char both[2 * PATH_MAX];
    const char *lost = second ? second : path;
    if (kind != CREATED && stat(lost, &st) == 0 && S_ISREG(st.st_mode)) {
        int fd = REAL(open)(lost, O_RDONLY | O_CLOEXEC);
        keep(fd, inode = st.st_ino);
        close(fd);
    }
    int length = snprintf(both, sizeof both, "%s%s%s", path, second ? "\n" : "", second ? second : "");
    note((struct record){kind, inode, 0, 0, 0, length}, both);
}

static int opened(const char *path, int flags, mode_t mode) {
    struct stat st;
    int missing = stat(path, &st) != 0;
    pthread_mutex_lock(&lock);
    if (missing && (flags & O_CREAT)) before_name(CREATED, path, NULL);
    if (!missing && (flags & O_TRUNC)) {
        int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
        before_resize(fd, 0);
        close(fd);
    }
    int result = REAL(open)(path, flags, mode), saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

#define OPENED                                                                   \
    mode_t mode = 0;                                                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                       \
        va_list more;                                                            \
        va_start(more, flags);                                                   \
        mode = va_arg(more, mode_t);                                             \
        va_end(more);                                                            \
    }                                                                            \
    if (ours(path) && (flags & (O_CREAT | O_TRUNC))) return opened(path, flags, mode);

int open(const char *path, int flags, ...) { OPENED return REAL(open)(path, flags, mode); }
int open64(const char *path, int flags, ...) { OPENED return REAL(open)(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { OPENED return REAL(openat)(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { OPENED return REAL(openat)(at, path, flags, mode); }

int rename(const char *from, const char *to) {
    if (!ours(from)) return REAL(rename)(from, to);
    GUARDED(int, before_name(RENAMED, from, to), REAL(rename)(from, to))
}
int renameat(int a, const char *from, int b, const char *to) {
    if (!ours(from)) return REAL(renameat)(a, from, b, to);
    GUARDED(int, before_name(RENAMED, from, to), REAL(renameat)(a, from, b, to))
}
int unlink(const char *path) {
    if (!ours(path)) return REAL(unlink)(path);
    GUARDED(int, before_name(UNLINKED, path, NULL), REAL(unlink)(path))
}
int unlinkat(int at, const char *path, int flags) {
    if (flags || !ours(path)) return REAL(unlinkat)(at, path, flags);
    GUARDED(int, before_name(UNLINKED, path, NULL), REAL(unlinkat)(at, path, flags))
}

/* The wall clock. */

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = REAL(clock_gettime)(id, now);
    if (clock_offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + *clock_offset;
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
    return 0;
}
time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
