/* A Modbus TCP server on libmodbus: a reading of the protocol, and of its word order, that is not ours.
 *
 * Arguments: ADDRESS:f32:VALUE, ADDRESS:i32:VALUE, ADDRESS:i64:VALUE or ADDRESS:u16:VALUE, written big-endian
 * by libmodbus into both the holding and the input registers. Prints its port and serves until its standard
 * input ends.
 */
#include <modbus.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(uint16_t *table, int address, const char *type, const char *value)
{
    /* Not modbus_set_float_abcd: what it calls ABCD differs between versions of libmodbus. */
    float number = strtof(value, NULL);
    int32_t bits;

    memcpy(&bits, &number, sizeof bits);
    if (!strcmp(type, "f32"))
        MODBUS_SET_INT32_TO_INT16(table, address, bits);
    else if (!strcmp(type, "i32"))
        MODBUS_SET_INT32_TO_INT16(table, address, strtol(value, NULL, 10));
    else if (!strcmp(type, "i64"))
        MODBUS_SET_INT64_TO_INT16(table, address, strtoll(value, NULL, 10));
    else
        table[address] = (uint16_t) strtoul(value, NULL, 10);
}

int main(int argc, char **argv)
{
    modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, 20000, 20000);
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int listener, connected = -1, n;

    for (n = 1; n < argc; n++) {
        int address = atoi(strtok(argv[n], ":"));
        const char *type = strtok(NULL, ":"), *value = strtok(NULL, ":");
        put(mapping->tab_registers, address, type, value);
        put(mapping->tab_input_registers, address, type, value);
    }
    listener = modbus_tcp_listen(context, 1);
    if (listener < 0 || getsockname(listener, (struct sockaddr *) &name, &length) < 0)
        return 1;
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    for (;;) {
        struct pollfd ready[] = {{STDIN_FILENO, POLLIN, 0}, {connected < 0 ? listener : connected, POLLIN, 0}};
        if (poll(ready, 2, -1) < 0 || ready[0].revents)
            break;
        if (!ready[1].revents)
            continue;
        if (connected < 0) {
            connected = modbus_tcp_accept(context, &listener);
            continue;
        }
        n = modbus_receive(context, query);
        if (n > 0)
            modbus_reply(context, query, n, mapping);
        if (n < 0) {
            close(connected);
            connected = -1;
        }
    }
    modbus_mapping_free(mapping);
    modbus_free(context);
    return 0;
}
