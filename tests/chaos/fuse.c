/*
 * A process's disk, clock and name server with troubles on order, by LD_PRELOAD. What happens to files outside FUSE_DIR is left alone, and so
 * is SQLite's -shm, which is memory and not disk.
 *
 *   FUSE_DIR    the folder
 *   FUSE_KILL   SIGKILL at the N-th call that changes something in it ...
 *   FUSE_WHEN   ... before the call (0), half-way through it (1: half the bytes of a write), after it (2)
 *   FUSE_FAULT  a file; while it exists, the calls whose letter it names fail with the errno it names: "28 wt"
 *   FUSE_SKIP   "M N": of the calls that would fail, the first M go well and the next N fail
 *   FUSE_TRACE  a file that every call is recorded in, for tests/chaos/powerloss.py
 *   FUSE_CLOCK  a file of eight bytes, a number in the machine's order: the wall clock is so many seconds off
 *   FUSE_HANG   name look-ups take so many seconds and fail
 *
 * Letters: w write, s fsync, r rename, u unlink, t truncate, o open for writing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls, would_fail;
static int trace_fd = -1;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int ours(const char *path) {
  const char *dir = getenv("FUSE_DIR");
  size_t n = dir ? strlen(dir) : 0, m = strlen(path);
  return n && !strncmp(path, dir, n) && (path[n] == '/' || !path[n]) && !(m > 4 && !strcmp(path + m - 4, "-shm"));
}

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return ours(path);
}

static int full_path(int dirfd, const char *path, char *full) {
  char dir[PATH_MAX] = "";
  if (path[0] == '/') { snprintf(full, PATH_MAX, "%s", path); return ours(full); }
  if (dirfd == AT_FDCWD) { if (!getcwd(dir, sizeof dir)) return 0; }
  else path_of(dirfd, dir);
  if (strlen(dir) + strlen(path) + 2 > PATH_MAX) return 0;
  strcpy(full, dir); strcat(full, "/"); strcat(full, path);
  return ours(full);
}

static void record(char op, const char *path, const char *other, int64_t at, const void *data, uint32_t size) {
  const char *file = getenv("FUSE_TRACE");
  if (!file) return;
  if (trace_fd < 0) trace_fd = REAL(open)(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  uint16_t lengths[2] = {strlen(path), other ? strlen(other) : 0};
  __typeof__(&write) out = REAL(write);
  if (out(trace_fd, &op, 1) < 0 || out(trace_fd, lengths, 4) < 0 || out(trace_fd, &at, 8) < 0 ||
      out(trace_fd, &size, 4) < 0 || out(trace_fd, path, lengths[0]) < 0 ||
      (other && out(trace_fd, other, lengths[1]) < 0) || (size && out(trace_fd, data, size) < 0))
    abort();
}

/* The errno that this call is to fail with, 0 for none. */
static int fault(char letter) {
  const char *file = getenv("FUSE_FAULT"), *skip = getenv("FUSE_SKIP");
  char text[64] = "", letters[32] = "";
  int number = 0, fd;
  long first = 0, many = LONG_MAX;
  if (!file || (fd = REAL(open)(file, O_RDONLY | O_CLOEXEC)) < 0) return 0;
  if (REAL(read)(fd, text, sizeof text - 1) > 0) sscanf(text, "%d %31s", &number, letters);
  close(fd);
  if (!strchr(letters, letter) || !letter) return 0;
  if (skip) sscanf(skip, "%ld %ld", &first, &many);
  would_fail++;
  return would_fail > first && would_fail - first <= many ? number : 0;
}

static void die(void) { kill(getpid(), SIGKILL); pause(); }

/* Whether this call is the last: 0 no, else 1 + FUSE_WHEN. Dies at once where that is before the call. */
static int last(void) {
  const char *at = getenv("FUSE_KILL"), *when = getenv("FUSE_WHEN");
  if (!at || ++calls != atol(at)) return 0;
  if (!when || atoi(when) == 0) die();
  return 1 + atoi(when);
}

#define FAIL(letter, result) do { int e = fault(letter); if (e) { pthread_mutex_unlock(&lock); errno = e; return result; } } while (0)
#define BEGIN(letter, result) pthread_mutex_lock(&lock); FAIL(letter, result); int end = last()
#define END if (end) die(); int kept = errno; pthread_mutex_unlock(&lock); errno = kept

static off_t here(int fd) {
  struct stat found;
  if ((fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &found)) return found.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t size) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return REAL(write)(fd, data, size);
  BEGIN('w', -1);
  off_t at = here(fd);
  ssize_t done = REAL(write)(fd, data, end == 2 ? size / 2 : size);
  if (done > 0) record('w', path, NULL, at, data, done);
  END;
  return done;
}

#define PWRITE(name) \
  ssize_t name(int fd, const void *data, size_t size, __typeof__(((struct stat *)0)->st_size) at) { \
    char path[PATH_MAX]; \
    if (!path_of(fd, path)) return REAL(name)(fd, data, size, at); \
    BEGIN('w', -1); \
    ssize_t done = REAL(name)(fd, data, end == 2 ? size / 2 : size, at); \
    if (done > 0) record('w', path, NULL, at, data, done); \
    END; \
    return done; \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define SYNC(name) \
  int name(int fd) { \
    char path[PATH_MAX]; \
    if (!path_of(fd, path)) return REAL(name)(fd); \
    BEGIN('s', -1); \
    int done = REAL(name)(fd); \
    if (!done) record('s', path, NULL, 0, NULL, 0); \
    END; \
    return done; \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name) \
  int name(int fd, __typeof__(((struct stat *)0)->st_size) size) { \
    char path[PATH_MAX]; \
    if (!path_of(fd, path)) return REAL(name)(fd, size); \
    BEGIN('t', -1); \
    int done = REAL(name)(fd, size); \
    if (!done) record('t', path, NULL, size, NULL, 0); \
    END; \
    return done; \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

static int renamed(int fromfd, const char *from, int tofd, const char *to) {
  char one[PATH_MAX], other[PATH_MAX];
  int is_ours = full_path(fromfd, from, one) | full_path(tofd, to, other);
  if (!is_ours) return REAL(renameat)(fromfd, from, tofd, to);
  BEGIN('r', -1);
  int done = REAL(renameat)(fromfd, from, tofd, to);
  if (!done) record('r', one, other, 0, NULL, 0);
  END;
  return done;
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int fromfd, const char *from, int tofd, const char *to) { return renamed(fromfd, from, tofd, to); }

static int removed(int dirfd, const char *path, int flags) {
  char full[PATH_MAX];
  if ((flags & AT_REMOVEDIR) || !full_path(dirfd, path, full)) return REAL(unlinkat)(dirfd, path, flags);
  BEGIN('u', -1);
  int done = REAL(unlinkat)(dirfd, path, flags);
  if (!done) record('u', full, NULL, 0, NULL, 0);
  END;
  return done;
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int dirfd, const char *path, int flags) { return removed(dirfd, path, flags); }

static int opened(int dirfd, const char *path, int flags, mode_t mode) {
  char full[PATH_MAX];
  if ((flags & O_ACCMODE) == O_RDONLY || !full_path(dirfd, path, full)) return REAL(openat)(dirfd, path, flags, mode);
  pthread_mutex_lock(&lock);
  FAIL('o', -1);
  int fd = REAL(openat)(dirfd, path, flags, mode), kept = errno;
  if (fd >= 0 && (flags & O_TRUNC)) record('t', full, NULL, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = kept;
  return fd;
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int dirfd, const char *path, int flags, ...) { MODE return opened(dirfd, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) { MODE return opened(dirfd, path, flags, mode); }

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  const char *hang = getenv("FUSE_HANG");
  if (!hang || !node || (hints && (hints->ai_flags & AI_NUMERICHOST)) || strspn(node, "0123456789.:") == strlen(node))
    return REAL(getaddrinfo)(node, service, hints, found);
  sleep(atoi(hang));
  return EAI_AGAIN;
}

/* -- the wall clock; the monotonic one stays true ------------------------------------------------------------- */

static int64_t off(void) {
  static volatile int64_t *offset;
  const char *file;
  int fd;
  if (!offset && (file = getenv("FUSE_CLOCK")) && (fd = REAL(open)(file, O_RDONLY | O_CLOEXEC)) >= 0) {
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) abort();
    offset = mapped;
    close(fd);
  }
  return offset ? *offset : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*call)(clockid_t, struct timespec *);
  if (!call) call = REAL(clock_gettime);
  int done = call(clock, now);
  if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += off();
  return done;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}
