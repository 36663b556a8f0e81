// Entry from the stubs; entry.md explains frame and registers.

        .text
        .globl  pmemfile_intercept_entry
        .hidden pmemfile_intercept_entry
        .hidden pmemfile_intercept_dispatch
        .type   pmemfile_intercept_entry, @function

        .macro  save reg offset
        push    %\reg
        .cfi_adjust_cfa_offset 8
        .cfi_offset \reg, -\offset
        .endm

        .macro  load reg
        pop     %\reg
        .cfi_adjust_cfa_offset -8
        .cfi_restore \reg
        .endm

        .p2align 6
pmemfile_intercept_entry:
        .cfi_startproc
        // Like a signal frame: the program was interrupted at rip, it has not
        // called anything.
        .cfi_signal_frame
        .cfi_def_cfa rsp, 136           // return into the stub, red zone
        .cfi_register rip, rcx
        endbr64
        push    %rcx
        .cfi_adjust_cfa_offset 8
        .cfi_offset rip, -144
        pushfq
        .cfi_adjust_cfa_offset 8
        .cfi_offset 49, -152            // rflags
        push    %r11
        .cfi_adjust_cfa_offset 8
        save    rax 168
        save    rdi 176
        save    rsi 184
        save    rdx 192
        save    r10 200
        save    r8  208
        save    r9  216
        save    rbx 224
        save    rbp 232
        save    r12 240
        save    r13 248
        save    r14 256
        save    r15 264
        cld
        mov     %rsp, %rbx
        .cfi_def_cfa_register rbx
        and     $-16, %rsp
        mov     %rbx, %rdi
        call    pmemfile_intercept_dispatch
        mov     %rax, %rcx
        mov     %rbx, %rsp
        .cfi_def_cfa_register rsp
        load    r15
        load    r14
        load    r13
        load    r12
        load    rbp
        load    rbx
        load    r9
        load    r8
        load    r10
        load    rdx
        load    rsi
        load    rdi
        load    rax
        pop     %r11
        .cfi_adjust_cfa_offset -8
        popfq
        .cfi_adjust_cfa_offset -8
        .cfi_restore 49
        lea     8(%rsp), %rsp
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   pmemfile_intercept_entry, . - pmemfile_intercept_entry

        // How the handler of trapped calls returns: in our own text, and by the bytes that unwinders know.
        .globl  pmemfile_intercept_restore
        .hidden pmemfile_intercept_restore
        .type   pmemfile_intercept_restore, @function
        nop
pmemfile_intercept_restore:
        mov     $15, %rax
        syscall
        .size   pmemfile_intercept_restore, . - pmemfile_intercept_restore

        // void pmemfile_intercept_resume(ucontext_t* context): does not return. The handler of trapped calls goes back to the
        // program as rt_sigreturn would, but for what has not changed: mask and alternate stack. As after a system call,
        // rcx and r11 are free: the first holds the way back.
        .globl  pmemfile_intercept_resume
        .hidden pmemfile_intercept_resume
        .type   pmemfile_intercept_resume, @function
        .p2align 4
pmemfile_intercept_resume:
        mov     %rdi, %rsp              // what lies below is over; a signal's frame goes there
        mov     224(%rdi), %rcx         // uc_mcontext.fpregs
        mov     472(%rcx), %eax         // sw_reserved.xfeatures
        mov     476(%rcx), %edx
        xrstor64 (%rcx)
        mov     40(%rdi), %r8           // uc_mcontext.gregs
        mov     48(%rdi), %r9
        mov     56(%rdi), %r10
        mov     72(%rdi), %r12
        mov     80(%rdi), %r13
        mov     88(%rdi), %r14
        mov     96(%rdi), %r15
        mov     112(%rdi), %rsi
        mov     120(%rdi), %rbp
        mov     128(%rdi), %rbx
        mov     136(%rdi), %rdx
        mov     144(%rdi), %rax
        mov     168(%rdi), %rcx         // rip
        mov     176(%rdi), %r11         // rflags
        push    %r11
        popfq
        mov     104(%rsp), %rdi
        mov     160(%rsp), %rsp
        jmp     *%rcx
        .size   pmemfile_intercept_resume, . - pmemfile_intercept_resume

        .section .note.GNU-stack, "", @progbits
