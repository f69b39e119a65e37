; copies data.txt to standard output
        global  _start

        section .rodata
name:   db      "data.txt", 0

        section .bss
buffer: resb    4096

        section .text
_start: lea     rdi, [rel name]         ; open(name, O_RDONLY)
        xor     esi, esi
        mov     eax, 2
        syscall
        test    eax, eax
        js      .fail

        mov     edi, eax                ; read(fd, buffer, 4096)
        lea     rsi, [rel buffer]
        mov     edx, 4096
        xor     eax, eax
        syscall
        test    rax, rax
        js      .fail

        mov     rdx, rax                ; write(1, buffer, got)
        mov     edi, 1
        mov     eax, 1
        syscall

        xor     edi, edi
        jmp     .exit
.fail:  mov     edi, 1
.exit:  mov     eax, 60
        syscall
