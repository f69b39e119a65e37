# fib(0) .. fib(10), one a line, through the C library's printf
        .globl  main
        .text
main:   push    %rbx
        push    %r12
        push    %r13
        xor     %ebx, %ebx              # n
        xor     %r12d, %r12d            # fib(n)
        mov     $1, %r13d               # fib(n + 1)
next:   lea     format(%rip), %rdi
        mov     %ebx, %esi
        mov     %r12d, %edx
        xor     %eax, %eax
        call    printf@PLT
        xchg    %r12d, %r13d
        add     %r12d, %r13d
        inc     %ebx
        cmp     $10, %ebx
        jbe     next
        xor     %eax, %eax
        pop     %r13
        pop     %r12
        pop     %rbx
        ret

        .section .rodata
format: .string "fib(%d) = %d\n"
        .section .note.GNU-stack, "", @progbits
