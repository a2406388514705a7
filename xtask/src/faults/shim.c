/*
 * Stands between a program and the system calls that change files, counts them, and lets one of
 * them fail. Preloaded by `cargo xtask faults`, which builds it; no part of the product.
 *
 * strace can inject errors, but it counts per thread, and a call that it fails is never made:
 * "failed, but done" needs somebody who makes the call and then says it failed. What is not
 * intercepted here would be seen by strace, and `cargo xtask faults` compares the two.
 *
 *   PLACET_FAULT_DIR    files below it are looked at, all others left alone; ends with a slash
 *   PLACET_FAULT_LOG    where calls and what they overwrote are written; LOG.hit appears at the fault
 *   PLACET_FAULT_BOOT   read in place of the kernel's name of this boot, alone or with the others
 *   PLACET_FAULT_POINT  "call file n mode": the n-th call on that file; without it nothing fails
 *
 * In names of files, runs of digits are one '#'. Records of the log, paths relative to the directory:
 *   C call file             a call was made (file as it is counted)
 *   W path off size len     a write at off; the file had size bytes, the len bytes it had there follow
 *   T path to size len      the same for a truncation to `to`; the bytes cut off follow
 *   S path                  flushed, what was written before is durable
 *   F path                  a flush failed and was not made
 *   R from to               renamed
 *   U path                  unlinked
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char dir[PATH_MAX], hit_path[PATH_MAX];
static size_t dir_len;
static int log_fd = -1;
static char want_call[32], want_file[256], want_mode[32];
static long want_n, seen;

enum fate { GO, FAIL, DONE_FAIL, KILL, DONE_KILL, TORN_KILL };

__attribute__((constructor)) static void begin(void) {
    const char *d = getenv("PLACET_FAULT_DIR"), *l = getenv("PLACET_FAULT_LOG");
    const char *p = getenv("PLACET_FAULT_POINT");
    if (!d || !l || strlen(d) >= sizeof dir || strlen(l) + 4 >= sizeof hit_path) return;
    strcpy(dir, d);
    dir_len = strlen(dir);
    strcpy(hit_path, l);
    strcat(hit_path, ".hit");
    if (p && sscanf(p, "%31s %255s %ld %31s", want_call, want_file, &want_n, want_mode) != 4) _exit(99);
    log_fd = open(l, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) _exit(99);
}

static void raw(const void *bytes, size_t len) {
    const char *at = bytes;
    while (len > 0) {
        long n = syscall(SYS_write, log_fd, at, len);
        if (n <= 0) _exit(98);
        at += n;
        len -= (size_t)n;
    }
}

static void say(const char *format, ...) {
    char line[2 * PATH_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0) raw(line, (size_t)n);
}

/* The path relative to the directory, or 0 when it is not ours. The directory itself is ".". */
static int ours(const char *path, char *out) {
    if (strncmp(path, dir, dir_len - 1) != 0) return 0;
    if (path[dir_len - 1] == 0) {
        strcpy(out, ".");
        return 1;
    }
    if (path[dir_len - 1] != '/') return 0;
    snprintf(out, PATH_MAX, "%s", path + dir_len);
    return 1;
}

static int of_fd(int fd, char *out) {
    char link[64], path[PATH_MAX];
    if (log_fd < 0 || fd == log_fd) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlink, link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return ours(path, out);
}

/* Counts the call; whether and how it fails. */
static enum fate judge(const char *call, const char *path) {
    char file[PATH_MAX];
    size_t n = 0;
    for (const char *at = path; *at; at++) {
        int digit = *at >= '0' && *at <= '9';
        if (!digit) file[n++] = *at;
        else if (n == 0 || file[n - 1] != '#') file[n++] = '#';
    }
    file[n] = 0;
    say("C %s %s\n", call, file);
    if (strcmp(call, want_call) != 0 || strcmp(file, want_file) != 0 || ++seen != want_n) return GO;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, hit_path, O_WRONLY | O_CREAT, 0600);
    if (fd >= 0) syscall(SYS_close, fd);
    if (!strcmp(want_mode, "eio-lost") || !strcmp(want_mode, "enospc")) return FAIL;
    if (!strcmp(want_mode, "eio-kept")) return DONE_FAIL;
    if (!strcmp(want_mode, "kill-after")) return DONE_KILL;
    return strcmp(want_mode, "power") ? KILL : TORN_KILL;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int error(void) {
    errno = strcmp(want_mode, "enospc") ? EIO : ENOSPC;
    return -1;
}

/* What is at `off` and would be overwritten. */
static void keep(char kind, int fd, const char *path, off_t off, off_t to) {
    struct stat st;
    static char bytes[1 << 20];
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
    long len = 0;
    while (off + len < (off_t)st.st_size && off + len < to) {
        size_t most = sizeof bytes - (size_t)len;
        if ((off_t)most > to - off - len) most = (size_t)(to - off - len);
        if (most == 0) break;
        long n = syscall(SYS_pread64, fd, bytes + len, most, off + len);
        if (n <= 0) break;
        len += n;
    }
    say("%c %s %ld %ld %ld\n", kind, path, (long)off, (long)st.st_size, len);
    raw(bytes, (size_t)len);
    raw("\n", 1);
}

static off_t position(int fd) {
    int flags = fcntl(fd, F_GETFL);
    struct stat st;
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &st) == 0) return st.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

#define MAKE(path, call, torn, made)                                              \
    ({                                                                            \
        long result = -1;                                                         \
        enum fate fate = judge(call, path);                                       \
        if (fate == KILL) die();                                                  \
        if (fate == TORN_KILL || (fate == FAIL && !strcmp(want_mode, "enospc"))) { \
            (void)(torn);                                                         \
        }                                                                         \
        if (fate == TORN_KILL) die();                                             \
        if (fate == FAIL) result = error();                                       \
        else {                                                                    \
            result = (made);                                                      \
            if (fate == DONE_KILL) die();                                         \
            if (fate == DONE_FAIL) result = error();                              \
        }                                                                         \
        result;                                                                   \
    })

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t off) {
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return syscall(SYS_pwrite64, fd, bytes, len, off);
    pthread_mutex_lock(&lock);
    keep('W', fd, path, off, off + (off_t)len);
    long n = MAKE(path, "pwrite64", syscall(SYS_pwrite64, fd, bytes, len / 2, off),
                  syscall(SYS_pwrite64, fd, bytes, len, off));
    pthread_mutex_unlock(&lock);
    return n;
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t off) { return pwrite64(fd, bytes, len, off); }

ssize_t write(int fd, const void *bytes, size_t len) {
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return syscall(SYS_write, fd, bytes, len);
    pthread_mutex_lock(&lock);
    off_t off = position(fd);
    keep('W', fd, path, off, off + (off_t)len);
    long n = MAKE(path, "write", syscall(SYS_write, fd, bytes, len / 2), syscall(SYS_write, fd, bytes, len));
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return syscall(SYS_writev, fd, parts, count);
    pthread_mutex_lock(&lock);
    size_t len = 0;
    for (int i = 0; i < count; i++) len += parts[i].iov_len;
    off_t off = position(fd);
    keep('W', fd, path, off, off + (off_t)len);
    long n = MAKE(path, "writev", syscall(SYS_writev, fd, parts, count / 2), syscall(SYS_writev, fd, parts, count));
    pthread_mutex_unlock(&lock);
    return n;
}

static int flush(long number, const char *call, int fd) {
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    enum fate fate = judge(call, path);
    long result = -1;
    if (fate == KILL || fate == TORN_KILL) die();
    if (fate == FAIL) {
        say("F %s\n", path);
        result = error();
    } else {
        result = syscall(number, fd);
        if (result == 0) say("S %s\n", path);
        if (fate == DONE_KILL) die();
        if (fate == DONE_FAIL) result = error();
    }
    pthread_mutex_unlock(&lock);
    return (int)result;
}
int fsync(int fd) { return flush(SYS_fsync, "fsync", fd); }
int fdatasync(int fd) { return flush(SYS_fdatasync, "fdatasync", fd); }

int ftruncate64(int fd, off_t to) {
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return (int)syscall(SYS_ftruncate, fd, to);
    pthread_mutex_lock(&lock);
    keep('T', fd, path, to, LONG_MAX);
    long n = MAKE(path, "ftruncate", 0, syscall(SYS_ftruncate, fd, to));
    pthread_mutex_unlock(&lock);
    return (int)n;
}
int ftruncate(int fd, off_t to) { return ftruncate64(fd, to); }

int rename(const char *from, const char *to) {
    char a[PATH_MAX], b[PATH_MAX];
    if (log_fd < 0 || !ours(from, a) || !ours(to, b)) return (int)syscall(SYS_rename, from, to);
    pthread_mutex_lock(&lock);
    long n = MAKE(b, "rename", 0, syscall(SYS_rename, from, to));
    struct stat st;
    if (n == 0 || lstat(from, &st) != 0) say("R %s %s\n", a, b);
    pthread_mutex_unlock(&lock);
    return (int)n;
}

static int gone(int at, const char *path, int flags) {
    char relative[PATH_MAX], base[PATH_MAX], whole[2 * PATH_MAX];
    if (at != AT_FDCWD && path[0] != '/') {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        long n = syscall(SYS_readlink, link, base, sizeof base - 1);
        base[n > 0 ? n : 0] = 0;
        snprintf(whole, sizeof whole, "%s/%s", base, path);
    } else {
        snprintf(whole, sizeof whole, "%s", path);
    }
    int plain = at == AT_FDCWD && flags == 0;
    if (log_fd < 0 || !ours(whole, relative)) {
        return (int)(plain ? syscall(SYS_unlink, path) : syscall(SYS_unlinkat, at, path, flags));
    }
    pthread_mutex_lock(&lock);
    long n = MAKE(relative, plain ? "unlink" : "unlinkat", 0,
                  plain ? syscall(SYS_unlink, path) : syscall(SYS_unlinkat, at, path, flags));
    if (n == 0) say("U %s\n", relative);
    pthread_mutex_unlock(&lock);
    return (int)n;
}
int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    const char *boot = getenv("PLACET_FAULT_BOOT");
    if (boot && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) path = boot;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int unlink(const char *path) { return gone(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return gone(at, path, flags); }
