# copies data.txt to standard output
        .globl  main
        .text
main:   push    %rbx
        lea     name(%rip), %rdi
        lea     mode(%rip), %rsi
        call    fopen@PLT
        test    %rax, %rax
        jz      fail
        mov     %rax, %rbx
next:   mov     %rbx, %rdi
        call    fgetc@PLT
        test    %eax, %eax
        js      done
        mov     %eax, %edi
        call    putchar@PLT
        jmp     next
done:   xor     %eax, %eax
        pop     %rbx
        ret
fail:   mov     $1, %eax
        pop     %rbx
        ret

        .section .rodata
name:   .string "data.txt"
mode:   .string "r"
        .section .note.GNU-stack, "", @progbits
