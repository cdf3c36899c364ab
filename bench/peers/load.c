/*
 * A small HTTP/1.1 load client: keep-alive connections, one request in flight on each, requests built beforehand.
 *
 *   load PORT CONNECTIONS SECONDS REQUESTS BODY SENT_BYTES WANTED_BYTES STATUS[,STATUS...]
 *
 * REQUESTS is a file of records: a length (32 bits, little endian), then the head of a request with its blank line. Each record is
 * sent at most once. BODY is a file whose bytes, repeated, are the body: SENT_BYTES of them follow each head, and an answer's body
 * must be WANTED_BYTES of them (-1: any body will do). No request begins after SECONDS; those that began are awaited, so that what
 * is counted is all that was asked of the servers. One line of JSON goes to standard output. Everything is sent to 127.0.0.1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, READ_BYTES = 262144, EVENTS = 64, PATIENCE_S = 120 };
enum chunk { SIZE_LINE, CHUNK, CHUNK_END, TRAILER };

typedef struct {
    int fd, reading_body, chunked, close_after, status, busy, head_request, fresh, writable;
    uint64_t sent, sent_all, head_length;
    const char *head;
    char answer[HEAD_MAX];
    size_t answer_length;
    int64_t left, got; /* bytes of the body, or of the chunk, still to come; bytes of the body so far */
    enum chunk chunk;
    char line[64];
    size_t line_length;
    int wrong;
    double began;
} connection;

static const char *requests, *requests_end, *next_request;
static const char *body;
static uint64_t body_length, sent_bytes;
static int64_t wanted_bytes;
static int statuses[16], status_kinds, poller, port;
static uint32_t *latencies;
static uint64_t done, room, wrong_status, wrong_body, reconnects, bytes_in, by_status[600];
static double started, last_end, seconds_max;
static char wrong_example[512];
static char buffer[READ_BYTES];

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static const char *map(const char *path, uint64_t *length) {
    int fd = open(path, O_RDONLY);
    struct stat s;
    if (fd < 0 || fstat(fd, &s) < 0) fail(path);
    *length = (uint64_t)s.st_size;
    if (s.st_size == 0) return "";
    void *at = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED) fail(path);
    close(fd);
    return at;
}

static void connect_to(connection *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e) < 0) fail("epoll_ctl");
    c->fresh = 1;
    c->writable = 0;
}

static void watch_writing(connection *c, int on) {
    if (c->writable == on) return;
    struct epoll_event e = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e) < 0) fail("epoll_ctl");
    c->writable = on;
}

static void send_more(connection *c) {
    while (c->sent < c->sent_all) {
        struct iovec parts[3];
        int count = 0;
        uint64_t at = c->sent;
        if (at < c->head_length) {
            parts[count++] = (struct iovec){(void *)(c->head + at), c->head_length - at};
            at = c->head_length;
        }
        while (count < 3 && at < c->sent_all) {
            uint64_t offset = (at - c->head_length) % body_length, part = body_length - offset;
            if (part > c->sent_all - at) part = c->sent_all - at;
            parts[count++] = (struct iovec){(void *)(body + offset), part};
            at += part;
        }
        ssize_t n = writev(c->fd, parts, count);
        if (n < 0 && errno == EAGAIN) {
            watch_writing(c, 1);
            return;
        }
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return; /* the answer, or the end, is there to be read */
        if (n < 0) fail("send");
        c->sent += (uint64_t)n;
    }
    watch_writing(c, 0);
}

static void begin(connection *c, int again) {
    if (!again) {
        double t = now();
        if (next_request >= requests_end || t - started > seconds_max) {
            c->busy = 0;
            return;
        }
        uint32_t length;
        memcpy(&length, next_request, 4);
        c->head = next_request + 4;
        c->head_length = length;
        next_request += 4 + (uint64_t)length;
        c->began = t;
    }
    c->sent = 0;
    c->sent_all = c->head_length + sent_bytes;
    c->head_request = !strncmp(c->head, "HEAD ", 5);
    c->answer_length = 0;
    c->reading_body = c->wrong = 0;
    c->busy = 1;
    send_more(c);
}

static void finish(connection *c) {
    last_end = now();
    if (done < room) latencies[done] = (uint32_t)((last_end - c->began) * 1e6);
    done++;
    by_status[c->status < 600 && c->status >= 0 ? c->status : 0]++;
    int right = 0;
    for (int i = 0; i < status_kinds; i++) right |= statuses[i] == c->status;
    if (!right) {
        if (!wrong_status++) snprintf(wrong_example, sizeof wrong_example, "%.*s", 200, c->answer);
    } else if (!c->head_request && wanted_bytes >= 0 && (c->wrong || c->got != wanted_bytes)) {
        wrong_body++;
    }
    c->fresh = 0;
    if (c->close_after) {
        close(c->fd);
        reconnects++;
        connect_to(c);
    }
    begin(c, 0);
}

static void take_body(connection *c, const char *data, size_t length) {
    if (wanted_bytes > 0 && !c->wrong) {
        size_t at = 0;
        while (at < length) {
            uint64_t offset = (uint64_t)(c->got + (int64_t)at) % body_length, part = body_length - offset;
            if (part > length - at) part = length - at;
            if (memcmp(data + at, body + offset, part)) c->wrong = 1;
            at += part;
        }
    }
    c->got += (int64_t)length;
    bytes_in += length;
}

/* How many of `length` bytes belong to this answer's body; sets *ended when it is complete. */
static size_t take_chunked(connection *c, const char *data, size_t length, int *ended) {
    size_t at = 0;
    while (at < length && !*ended) {
        if (c->chunk == CHUNK) {
            size_t part = length - at < (size_t)c->left ? length - at : (size_t)c->left;
            take_body(c, data + at, part);
            at += part;
            c->left -= (int64_t)part;
            if (!c->left) c->chunk = CHUNK_END, c->line_length = 0;
            continue;
        }
        char byte = data[at++];
        if (byte != '\n') {
            if (byte != '\r' && c->line_length < sizeof c->line - 1) c->line[c->line_length++] = byte;
            continue;
        }
        c->line[c->line_length] = 0;
        if (c->chunk == SIZE_LINE) {
            c->left = (int64_t)strtoull(c->line, NULL, 16);
            c->chunk = c->left ? CHUNK : TRAILER;
        } else if (c->chunk == CHUNK_END) {
            c->chunk = SIZE_LINE;
        } else if (!c->line_length) {
            *ended = 1;
        }
        c->line_length = 0;
    }
    return at;
}

static const char *field(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at; at = strstr(at + 2, "\r\n"))
        if (!strncasecmp(at + 2, name, length) && at[2 + length] == ':') {
            at += 3 + length;
            while (*at == ' ') at++;
            return at;
        }
    return NULL;
}

static void read_head(connection *c) {
    c->status = atoi(c->answer + 9);
    const char *length = field(c->answer, "content-length"), *coding = field(c->answer, "transfer-encoding");
    const char *after = field(c->answer, "connection");
    c->close_after = after && !strncasecmp(after, "close", 5);
    c->chunked = coding && !strncasecmp(coding, "chunked", 7);
    c->chunk = SIZE_LINE;
    c->line_length = 0;
    c->left = c->chunked ? 0 : length ? atoll(length) : 0;
    c->got = 0;
    if (c->head_request || c->status == 204 || c->status == 304) c->chunked = 0, c->left = 0;
    c->reading_body = 1;
}

/* Takes bytes off the connection's input; an answer that is complete begins the next request. */
static void take(connection *c, const char *data, size_t length) {
    while (length && c->busy) {
        if (!c->reading_body) {
            size_t part = HEAD_MAX - 1 - c->answer_length, before = c->answer_length;
            if (part > length) part = length;
            memcpy(c->answer + before, data, part);
            c->answer[before + part] = 0;
            char *end = strstr(c->answer + (before > 3 ? before - 3 : 0), "\r\n\r\n");
            if (!end) {
                if (before + part >= HEAD_MAX - 1) errno = EMSGSIZE, fail("the head of an answer");
                c->answer_length += part;
                return;
            }
            size_t used = (size_t)(end + 4 - c->answer) - before;
            data += used, length -= used;
            end[2] = 0;
            c->answer_length = 0;
            if (atoi(c->answer + 9) / 100 == 1) continue;
            read_head(c);
        }
        int ended = !c->chunked && !c->left;
        size_t used = 0;
        if (c->chunked) {
            used = take_chunked(c, data, length, &ended);
        } else if (!ended) {
            used = length < (size_t)c->left ? length : (size_t)c->left;
            take_body(c, data, used);
            c->left -= (int64_t)used;
            ended = !c->left;
        }
        data += used, length -= used;
        if (ended) finish(c);
    }
}

static void read_more(connection *c) {
    ssize_t n = read(c->fd, buffer, READ_BYTES);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) {
        take(c, buffer, (size_t)n);
        return;
    }
    close(c->fd);
    int repeat = c->busy && !c->fresh && !c->answer_length && !c->reading_body;
    if (c->busy && !repeat) fail("a server closed the connection in the middle of an answer");
    if (!c->busy) return;
    reconnects++; /* an idle connection was closed as the request came: it is sent once more, on a new one */
    connect_to(c);
    begin(c, 1);
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    uint64_t n = done < room ? done : room, at = (uint64_t)(share * (double)n);
    return n ? latencies[at < n ? at : n - 1] / 1e6 : 0;
}

static void print_result(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    qsort(latencies, done < room ? done : room, sizeof *latencies, by_value);
    printf("{\"requests\": %lu, \"seconds\": %.6f, \"p50_s\": %.6f, \"p99_s\": %.6f, \"p999_s\": %.6f, \"bytes\": %lu, "
           "\"wrong_status\": %lu, \"wrong_body\": %lu, \"reconnects\": %lu, \"client_cpu_s\": %.6f, \"statuses\": {",
           done, last_end > started ? last_end - started : 0, percentile(0.5), percentile(0.99), percentile(0.999), bytes_in,
           wrong_status, wrong_body, reconnects, cpu);
    const char *comma = "";
    for (int i = 0; i < 600; i++)
        if (by_status[i]) printf("%s\"%d\": %lu", comma, i, by_status[i]), comma = ", ";
    printf("}}\n");
    if (wrong_status) fprintf(stderr, "first wrong answer:\n%s\n", wrong_example);
}

int main(int count, char **word) {
    if (count != 9) {
        fprintf(stderr, "usage: load PORT CONNECTIONS SECONDS REQUESTS BODY SENT_BYTES WANTED_BYTES STATUS[,STATUS...]\n");
        return 2;
    }
    uint64_t length;
    port = atoi(word[1]);
    int connections = atoi(word[2]);
    seconds_max = atof(word[3]);
    requests = next_request = map(word[4], &length);
    requests_end = requests + length;
    body = map(word[5], &body_length);
    sent_bytes = strtoull(word[6], NULL, 10);
    wanted_bytes = atoll(word[7]);
    if (!body_length && (sent_bytes || wanted_bytes > 0)) errno = EINVAL, fail("the body is empty");
    for (char *at = strtok(word[8], ","); at && status_kinds < 16; at = strtok(NULL, ",")) statuses[status_kinds++] = atoi(at);
    for (const char *at = requests; at < requests_end; room++) {
        uint32_t one;
        memcpy(&one, at, 4);
        at += 4 + (uint64_t)one;
    }
    latencies = calloc(room + 1, sizeof *latencies);
    connection *all = calloc((size_t)connections, sizeof *all);
    poller = epoll_create1(0);
    if (!latencies || !all || poller < 0) fail("setting up");
    for (int i = 0; i < connections; i++) connect_to(&all[i]);
    started = last_end = now();
    for (int i = 0; i < connections; i++) begin(&all[i], 0);
    for (;;) {
        int busy = 0;
        for (int i = 0; i < connections; i++) busy += all[i].busy;
        if (!busy) break;
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poller, events, EVENTS, 1000);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        if (now() - started > seconds_max + PATIENCE_S) errno = ETIMEDOUT, fail("answers that did not come");
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) send_more(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_more(c);
        }
    }
    print_result();
    return wrong_status || wrong_body ? 1 : 0;
}
