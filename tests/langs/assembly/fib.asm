; fib(0) .. fib(10), one a line, with system calls only
        global  _start

        section .bss
line:   resb    32

        section .text
_start: xor     r12d, r12d              ; n
        xor     r13d, r13d              ; fib(n)
        mov     r14d, 1                 ; fib(n + 1)
.next:  lea     rdi, [rel line]
        mov     dword [rdi], "fib("
        add     rdi, 4
        mov     eax, r12d
        call    decimal
        mov     dword [rdi], ") = "
        add     rdi, 4
        mov     eax, r13d
        call    decimal
        mov     byte [rdi], 10
        inc     rdi

        lea     rsi, [rel line]         ; write(1, line, end - line)
        mov     rdx, rdi
        sub     rdx, rsi
        mov     edi, 1
        mov     eax, 1
        syscall

        xchg    r13d, r14d              ; step to n + 1
        add     r14d, r13d
        inc     r12d
        cmp     r12d, 10
        jbe     .next

        xor     edi, edi                ; exit(0)
        mov     eax, 60
        syscall

; appends eax, which is below 100, at rdi
decimal:
        xor     edx, edx
        mov     ecx, 10
        div     ecx
        test    eax, eax
        jz      .ones
        add     eax, '0'
        stosb
.ones:  lea     eax, [rdx + '0']
        stosb
        ret
