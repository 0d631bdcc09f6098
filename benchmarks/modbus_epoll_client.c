/* What C can do with many connections: epoll, own framing, one question on each connection at a time.
 *
 * Arguments: PORT WORDS SECONDS CONNECTIONS. Prints requests, seconds and its own processor seconds.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, LONGEST = 260 };

struct connection {
    int descriptor, filled;
    unsigned transaction;
    unsigned char part[LONGEST];
};

static struct connection connections[MOST];

static double now(void)
{
    struct timespec instant;

    clock_gettime(CLOCK_MONOTONIC, &instant);
    return instant.tv_sec + instant.tv_nsec / 1e9;
}

static double processor(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int ask(struct connection *at, int words)
{
    unsigned char frame[12] = {0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, (unsigned char) words};

    at->transaction = (at->transaction + 1) & 0xFFFF;
    frame[0] = (unsigned char) (at->transaction >> 8);
    frame[1] = (unsigned char) at->transaction;
    at->filled = 0;
    return write(at->descriptor, frame, sizeof frame) == (ssize_t) sizeof frame;
}

/* 1 when the whole answer is there and right, 0 while it is not whole, -1 when it is wrong. */
static int answered(struct connection *at, int words)
{
    unsigned char *part = at->part;
    int whole = 9 + 2 * words;
    ssize_t got = read(at->descriptor, part + at->filled, LONGEST - at->filled);

    if (got <= 0)
        return -1;
    at->filled += (int) got;
    if (at->filled < whole)
        return 0;
    if (at->filled != whole || (unsigned) (part[0] << 8 | part[1]) != at->transaction || part[2] || part[3])
        return -1;
    if ((part[4] << 8 | part[5]) != 3 + 2 * words || part[6] != 1 || part[7] != 3 || part[8] != 2 * words)
        return -1;
    return part[whole - 1] == (unsigned char) (words - 1) ? 1 : -1;
}

int main(int argc, char **argv)
{
    int words = argc > 2 ? atoi(argv[2]) : 60, count = argc > 4 ? atoi(argv[4]) : 1, epoll = epoll_create1(0), one = 1, n;
    double seconds = argc > 3 ? atof(argv[3]) : 1, begun, used, ended;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(argc > 1 ? argv[1] : "502"))};
    struct epoll_event ready[MOST];
    long requests = 0;

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (n = 0; n < count && n < MOST; n++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[n]};

        connections[n].descriptor = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(connections[n].descriptor, (struct sockaddr *) &name, sizeof name) < 0)
            return 1;
        setsockopt(connections[n].descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[n].descriptor, &event);
    }
    begun = now();
    used = processor();
    for (n = 0; n < count; n++)
        if (!ask(&connections[n], words))
            return 1;
    do {
        int some = epoll_wait(epoll, ready, MOST, 1000);

        for (n = 0; n < some; n++) {
            int right = answered(ready[n].data.ptr, words);

            if (right < 0 || (right && !ask(ready[n].data.ptr, words)))
                return 2;
            requests += right;
        }
        ended = now();
    } while (ended - begun < seconds);
    printf("%ld %.9f %.9f\n", requests, ended - begun, processor() - used);
    return 0;
}
