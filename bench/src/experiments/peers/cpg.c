/* Messages of one member of a closed process group of corosync, delivered at all in one order:
 * cpg MEMBERS BYTES MESSAGES WARM_UP IS_SENDER. Prints when it began to send, and when the last one came, in seconds. */
#define _POSIX_C_SOURCE 200809L
#include <corosync/cpg.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/uio.h>

static long members, bytes, delivered, wrong;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* The first bytes are the number of the message, the last one is 7. */
static void deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node, uint32_t process, void *message, size_t length) {
    (void)handle, (void)group, (void)node, (void)process;
    const unsigned char *at = message;
    wrong += length != (size_t)bytes || at[0] != (unsigned char)delivered || (bytes > 1 && at[bytes - 1] != 7);
    delivered++;
}

static void change(cpg_handle_t handle, const struct cpg_name *group, const struct cpg_address *list, size_t count,
                   const struct cpg_address *left, size_t left_count, const struct cpg_address *joined, size_t joined_count) {
    (void)handle, (void)group, (void)list, (void)left, (void)left_count, (void)joined, (void)joined_count;
    if ((long)count > members)
        members = count;
}

static void fail(const char *what, cs_error_t error) {
    fprintf(stderr, "%s: error %d of corosync\n", what, error);
    exit(1);
}

/* Takes what has come, after waiting for it so long. */
static void turn(cpg_handle_t handle, int fd, int milliseconds) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    if (poll(&one, 1, milliseconds) > 0) {
        cs_error_t error = cpg_dispatch(handle, CS_DISPATCH_ALL);
        if (error != CS_OK && error != CS_ERR_TRY_AGAIN)
            fail("cpg_dispatch", error);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: cpg MEMBERS BYTES MESSAGES WARM_UP IS_SENDER\n");
        return 2;
    }
    long wanted = atol(argv[1]), messages = atol(argv[3]), warm_up = atol(argv[4]), sends = atol(argv[5]);
    bytes = atol(argv[2]);
    cpg_callbacks_t calls = {.cpg_deliver_fn = deliver, .cpg_confchg_fn = change};
    struct cpg_name group = {.length = 6, .value = "squall"};
    cpg_handle_t handle;
    int fd;
    cs_error_t error = cpg_initialize(&handle, &calls);
    if (error != CS_OK || (error = cpg_fd_get(handle, &fd)) != CS_OK)
        fail("cpg_initialize", error);
    while ((error = cpg_join(handle, &group)) == CS_ERR_TRY_AGAIN)
        poll(NULL, 0, 10);
    if (error != CS_OK)
        fail("cpg_join", error);
    while (members < wanted)
        turn(handle, fd, 100);
    char *message = calloc(1, bytes);
    double began = 0;
    for (long sent = 0; sends && sent < warm_up + messages;) {
        if (sent == warm_up) {
            while (delivered < warm_up)
                turn(handle, fd, 100);
            began = now();
        }
        message[0] = sent;
        if (bytes > 1)
            message[bytes - 1] = 7;
        struct iovec part = {.iov_base = message, .iov_len = bytes};
        error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &part, 1);
        if (error == CS_OK)
            sent++;
        else if (error != CS_ERR_TRY_AGAIN)
            fail("cpg_mcast_joined", error);
        turn(handle, fd, error == CS_OK ? 0 : 1);
    }
    while (delivered < warm_up + messages)
        turn(handle, fd, 100);
    double ended = now();
    if (wrong) {
        fprintf(stderr, "%ld messages came out of order or damaged\n", wrong);
        return 1;
    }
    printf("%.9f %.9f\n", began, ended);
    return 0;
}
