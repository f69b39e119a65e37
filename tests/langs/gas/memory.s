# allocates and fills one megabyte after the other until malloc says no
        .globl  main
        .text
main:   push    %rbx
next:   mov     $1048576, %edi
        call    malloc@PLT
        test    %rax, %rax
        jz      refused
        mov     %rax, %rdi
        mov     $1, %esi
        mov     $1048576, %edx
        call    memset@PLT
        jmp     next
refused:
        mov     $1, %eax
        pop     %rbx
        ret
        .section .note.GNU-stack, "", @progbits
