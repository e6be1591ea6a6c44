/* Traffic for the benchmarks of packets: as little of its own as possible.
 *
 *   traffic echo ADDRESS PORT               answer UDP datagrams, for ever
 *   traffic listen ADDRESS PORT             answer one byte a TCP connection, for ever
 *   traffic established ADDRESS PORT COUNT  datagrams of one flow that has been answered
 *   traffic first ADDRESS PORT COUNT        datagrams to COUNT ports, each a flow's first
 *   traffic connect ADDRESS PORT SECONDS    connections, one after the other
 *
 * The last three print what they did: a number and the nanoseconds that it took. A datagram has 18
 * bytes, which makes the smallest frame. The caller of "established" and "first" drops them before
 * they reach a socket, by their length.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD = 18 };

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int open_socket(int type)
{
    int fd = socket(AF_INET, type, 0);
    if (fd < 0)
        fail("socket");
    return fd;
}

static void report(long long number, long long nanoseconds)
{
    printf("%lld %lld\n", number, nanoseconds);
}

static void echo(const struct sockaddr_in *address)
{
    char byte;
    struct sockaddr_in from;
    int fd = open_socket(SOCK_DGRAM);
    if (bind(fd, (const void *)address, sizeof *address))
        fail("bind");
    for (;;) {
        socklen_t length = sizeof from;
        if (recvfrom(fd, &byte, 1, 0, (void *)&from, &length) >= 0)
            sendto(fd, &byte, 1, 0, (void *)&from, length);
    }
}

static void established(const struct sockaddr_in *address, long count)
{
    char payload[PAYLOAD] = {0};
    struct timeval patience = {2, 0};
    int fd = open_socket(SOCK_DGRAM);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const void *)address, sizeof *address))
        fail("connect");
    for (int i = 0; i < 3; i++)
        if (send(fd, payload, 1, 0) < 0 || recv(fd, payload, 1, 0) < 0)
            fail("no answer");
    long long began = now();
    for (long i = 0; i < count; i++)
        if (send(fd, payload, sizeof payload, 0) < 0)
            fail("send");
    report(count, now() - began);
}

static void first(const struct sockaddr_in *address, long count)
{
    char payload[PAYLOAD] = {0};
    struct sockaddr_in to = *address;
    int fd = open_socket(SOCK_DGRAM);
    long long began = now();
    for (long i = 0; i < count; i++) {
        to.sin_port = htons(ntohs(address->sin_port) + i);
        if (sendto(fd, payload, sizeof payload, 0, (void *)&to, sizeof to) < 0)
            fail("sendto");
    }
    report(count, now() - began);
}

static void listen_for_ever(const struct sockaddr_in *address)
{
    char byte;
    int yes = 1, fd = open_socket(SOCK_STREAM);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (const void *)address, sizeof *address) || listen(fd, 1024))
        fail("listen");
    for (;;) {
        int peer = accept(fd, NULL, NULL);
        if (peer < 0)
            continue;
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) == 1)
            while (read(peer, &byte, 1) > 0)
                ;
        close(peer);
    }
}

static void connections(const struct sockaddr_in *address, double seconds)
{
    /* Closed by a reset: a port in TIME_WAIT could not be used again for a minute. */
    struct linger reset = {1, 0};
    char byte = 0;
    long long number = 0, began = now(), end = began + (long long)(seconds * 1e9);
    while (now() < end) {
        int fd = open_socket(SOCK_STREAM);
        if (connect(fd, (const void *)address, sizeof *address))
            fail("connect");
        if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
            fail("exchange");
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        number++;
    }
    report(number, now() - began);
}

int main(int count, char **words)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (count < 4 || inet_pton(AF_INET, words[2], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons(atoi(words[3]));
    if (!strcmp(words[1], "echo"))
        echo(&address);
    else if (!strcmp(words[1], "listen"))
        listen_for_ever(&address);
    else if (count < 5)
        return 2;
    else if (!strcmp(words[1], "established"))
        established(&address, atol(words[4]));
    else if (!strcmp(words[1], "first"))
        first(&address, atol(words[4]));
    else if (!strcmp(words[1], "connect"))
        connections(&address, atof(words[4]));
    else
        return 2;
    return 0;
}
