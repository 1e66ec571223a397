/* Lines on Xen's log, the end of the domain, and the memory functions of C. */
#include <stdarg.h>

#include "kernel.h"
#include "port.h"

/* The status for the emulator. */
enum { SUCCESS = 0x10, FAILURE = 0x11, PANIC = 0x12 };

static size_t put(char *line, size_t at, size_t size, const char *text, size_t length)
{
    while (length-- && *text && at < size)
        line[at++] = *text++;
    return at;
}

void print(const char *format, ...)
{
    char line[128], digits[10];
    size_t at = 0, size = sizeof(line) - 1;
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            at = put(line, at, size, format, 1);
        } else if (*++format == 's') {
            at = put(line, at, size, va_arg(arguments, const char *), size);
        } else {
            unsigned number = va_arg(arguments, unsigned), digit = sizeof(digits);
            do {
                digits[--digit] = (char)('0' + number % 10);
                number /= 10;
            } while (number);
            at = put(line, at, size, digits + digit, sizeof(digits) - digit);
        }
    }
    va_end(arguments);
    line[at] = '\n';
    kernel_enter_critical();
    if (xen_log(line, at + 1))
        port_write(line, at + 1);
    kernel_exit_critical();
}

static _Noreturn void end(unsigned status, uint32_t reason)
{
    port_exit(status);
    for (;;)
        xen_shutdown(reason);
}

_Noreturn void finish(const char *failure)
{
    kernel_enter_critical();
    if (failure) {
        print("guest: failure: expected %s", failure);
        end(FAILURE, SHUTDOWN_crash);
    }
    print("guest: success");
    end(SUCCESS, SHUTDOWN_poweroff);
}

_Noreturn void kernel_fault(uint64_t number, uint64_t address)
{
    kernel_enter_critical();
    print("guest: panic at address %u: exception %u", (unsigned)address, (unsigned)number);
    end(PANIC, SHUTDOWN_crash);
}

/* Called by the library if it has a mistake. */
_Noreturn void xen_panic(const char *file, size_t length, uint32_t line)
{
    char name[64];
    kernel_enter_critical();
    name[put(name, 0, sizeof(name) - 1, file, length)] = 0;
    print("guest: panic at %s:%u: in the library", name, (unsigned)line);
    end(PANIC, SHUTDOWN_crash);
}

void *memcpy(void *to, const void *from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memmove(void *to, const void *from, size_t length)
{
    if ((uintptr_t)to - (uintptr_t)from >= length)
        return memcpy(to, from, length);
    while (length--)
        ((char *)to)[length] = ((const char *)from)[length];
    return to;
}

void *memset(void *to, int value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((char *)to)[i] = (char)value;
    return to;
}

int memcmp(const void *left, const void *right, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int difference = ((const uint8_t *)left)[i] - ((const uint8_t *)right)[i];
        if (difference)
            return difference;
    }
    return 0;
}
