; maps and touches one megabyte after the other until the kernel says no
        global  _start

        section .text
_start: xor     edi, edi                ; mmap(0, 1 MB, read|write, private|anonymous, -1, 0)
        mov     esi, 1048576
        mov     edx, 3
        mov     r10d, 0x22
        mov     r8, -1
        xor     r9d, r9d
        mov     eax, 9
        syscall
        cmp     rax, -4096
        ja      .refused

        mov     rdi, rax                ; fill it
        mov     ecx, 1048576
        mov     al, 1
        rep     stosb
        jmp     _start

.refused:
        mov     edi, 1
        mov     eax, 60
        syscall
