/* Hypercalls by inline assembly: the number in rax, the arguments in rdi, rsi, rdx, r10 and r8, all
 * of which the call may change. */
#include "abi.h"

long twin_call1(uint32_t number, unsigned long a)
{
    long answer;
    __asm__ volatile("vmcall"
                     : "=a"(answer), "+D"(a)
                     : "a"((unsigned long)number)
                     : "rsi", "rdx", "r10", "r8", "memory");
    return answer;
}

long twin_call2(uint32_t number, unsigned long a, unsigned long b)
{
    long answer;
    __asm__ volatile("vmcall"
                     : "=a"(answer), "+D"(a), "+S"(b)
                     : "a"((unsigned long)number)
                     : "rdx", "r10", "r8", "memory");
    return answer;
}

long twin_call5(uint32_t number, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
                unsigned long e)
{
    long answer;
    register unsigned long fourth __asm__("r10") = d;
    register unsigned long fifth __asm__("r8") = e;
    __asm__ volatile("vmcall"
                     : "=a"(answer), "+D"(a), "+S"(b), "+d"(c), "+r"(fourth), "+r"(fifth)
                     : "a"((unsigned long)number)
                     : "memory");
    return answer;
}
