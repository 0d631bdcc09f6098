/* The C peer: libmodbus, one connection, one question at a time.
 *
 * Arguments: PORT WORDS SECONDS. Prints requests, seconds and its own processor seconds.
 */
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

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

int main(int argc, char **argv)
{
    modbus_t *context = modbus_new_tcp("127.0.0.1", argc > 1 ? atoi(argv[1]) : 502);
    int words = argc > 2 ? atoi(argv[2]) : 60;
    double seconds = argc > 3 ? atof(argv[3]) : 1, begun, ended, used;
    uint16_t read[MODBUS_MAX_READ_REGISTERS];
    long requests = 0;

    modbus_set_slave(context, 1);
    if (modbus_connect(context) < 0)
        return 1;
    begun = now();
    used = processor();
    do {
        if (modbus_read_registers(context, 0, words, read) != words || read[words - 1] != words - 1)
            return 2;
        requests++;
        ended = now();
    } while (ended - begun < seconds);
    printf("%ld %.9f %.9f\n", requests, ended - begun, processor() - used);
    return 0;
}
