/* Hypercalls of a 32-bit program: the number in eax, the arguments in ebx, ecx, edx, esi and edi,
 * all of which the call may change. */

long twin_call1(unsigned number, unsigned long a)
{
    long answer;
    __asm__ volatile("vmcall"
                     : "=a"(answer), "+b"(a)
                     : "a"(number)
                     : "ecx", "edx", "esi", "edi", "memory");
    return answer;
}

long twin_call2(unsigned number, unsigned long a, unsigned long b)
{
    long answer;
    __asm__ volatile("vmcall"
                     : "=a"(answer), "+b"(a), "+c"(b)
                     : "a"(number)
                     : "edx", "esi", "edi", "memory");
    return answer;
}

long twin_call5(unsigned number, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
                unsigned long e)
{
    long answer;
    __asm__ volatile("vmcall"
                     : "=a"(answer), "+b"(a), "+c"(b), "+d"(c), "+S"(d), "+D"(e)
                     : "a"(number)
                     : "memory");
    return answer;
}
