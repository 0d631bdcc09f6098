/* The server that every client is measured against: libmodbus behind epoll, any number of connections.
 *
 * The word at address a is a. Prints its port and serves until its standard input ends.
 */
#include <modbus.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

static void watch(int epoll, int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};

    epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

int main(void)
{
    modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, 1000, 1000);
    struct epoll_event ready[256];
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int epoll = epoll_create1(0), listener = modbus_tcp_listen(context, 512), one = 1, address, count, n;

    if (listener < 0 || getsockname(listener, (struct sockaddr *) &name, &length) < 0)
        return 1;
    for (address = 0; address < 1000; address++)
        mapping->tab_registers[address] = mapping->tab_input_registers[address] = (uint16_t) address;
    watch(epoll, listener);
    watch(epoll, STDIN_FILENO);
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    while ((count = epoll_wait(epoll, ready, 256, -1)) >= 0) {
        for (n = 0; n < count; n++) {
            int descriptor = ready[n].data.fd, got;

            if (descriptor == STDIN_FILENO)
                return 0;
            if (descriptor == listener) {
                descriptor = accept(listener, NULL, NULL);
                setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(epoll, descriptor);
                continue;
            }
            modbus_set_socket(context, descriptor);
            got = modbus_receive(context, query);
            if (got > 0)
                modbus_reply(context, query, got, mapping);
            else if (got < 0)
                close(descriptor);
        }
    }
    return 1;
}
