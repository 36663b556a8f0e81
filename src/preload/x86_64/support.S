// Small pieces that C++ cannot say: running a handler on another stack, reading
// texts of the program that may fault, waits that a signal may end.
//
// Faults in [pmemfile_preload_guard_begin, _end) continue at _fault, which
// returns -EFAULT: none of the code between touches the stack pointer.

#define EINTR 4
#define EFAULT 14

    .text
    .hidden pmemfile_preload_on_stack, pmemfile_preload_strnlen, pmemfile_preload_match
    .hidden pmemfile_preload_guard_begin, pmemfile_preload_guard_end, pmemfile_preload_guard_fault
    .hidden pmemfile_preload_wait, pmemfile_preload_wait_interrupted
    .hidden pmemfile_preload_restore

// long on_stack(long (*fn)(void*), void* argument, void* stack_top)
    .globl pmemfile_preload_on_stack
    .type pmemfile_preload_on_stack, @function
pmemfile_preload_on_stack:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    movq %rdx, %rsp
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size pmemfile_preload_on_stack, . - pmemfile_preload_on_stack

pmemfile_preload_guard_begin:

// long strnlen(const char* text, u64 max): the length, or -EFAULT
    .globl pmemfile_preload_strnlen
    .type pmemfile_preload_strnlen, @function
pmemfile_preload_strnlen:
    .cfi_startproc
    // Aligned words: none of them reaches into a page that the text does not. Bytes before the text count as not zero.
    movq $0x0101010101010101, %r8
    movq $0x8080808080808080, %r9
    movl %edi, %ecx
    andl $7, %ecx
    shll $3, %ecx
    movl $1, %eax
    shlq %cl, %rax
    decq %rax
    movq %rdi, %rdx
    andq $-8, %rdx
    orq (%rdx), %rax
1:  movq %rax, %rcx
    notq %rcx
    subq %r8, %rax
    andq %r9, %rcx
    andq %rcx, %rax // the lowest set bit is the top bit of the first byte that is zero
    jnz 2f
    addq $8, %rdx
    movq %rdx, %rax
    subq %rdi, %rax
    cmpq %rsi, %rax
    jae 3f
    movq (%rdx), %rax
    jmp 1b
2:  bsfq %rax, %rax
    shrl $3, %eax
    addq %rdx, %rax
    subq %rdi, %rax
    cmpq %rsi, %rax
    jb 4f
3:  movq %rsi, %rax
4:  ret
    .cfi_endproc
    .size pmemfile_preload_strnlen, . - pmemfile_preload_strnlen

// long match(const char* text, const char* prefix, u64 bytes): 1 if the text begins
// with the prefix, 0 if not, or -EFAULT
    .globl pmemfile_preload_match
    .type pmemfile_preload_match, @function
pmemfile_preload_match:
    .cfi_startproc
    xorl %ecx, %ecx
    // Eight at a time where that stays in the page: the text may end before the prefix does.
4:  leaq 8(%rcx), %rax
    cmpq %rdx, %rax
    ja 1f
    leaq (%rdi,%rcx), %rax
    andl $4095, %eax
    cmpl $4088, %eax
    ja 1f
    movq (%rdi,%rcx), %rax
    cmpq (%rsi,%rcx), %rax
    jne 2f
    addq $8, %rcx
    jmp 4b
1:  cmpq %rdx, %rcx
    jae 3f
    movzbl (%rdi,%rcx), %eax
    cmpb (%rsi,%rcx), %al
    jne 2f
    incq %rcx
    jmp 1b
2:  xorl %eax, %eax
    ret
3:  movl $1, %eax
    ret
    .cfi_endproc
    .size pmemfile_preload_match, . - pmemfile_preload_match

pmemfile_preload_guard_end:
    .globl pmemfile_preload_guard_begin, pmemfile_preload_guard_end, pmemfile_preload_guard_fault
pmemfile_preload_guard_fault:
    movq $-EFAULT, %rax
    ret

// long wait(long nr, long a0, ..., long a5, const u32* pending): a system call that may block. If a signal was noted
// before (`pending`), or comes before the call or makes the kernel restart it, the result is -EINTR: the wrapper of signals
// sends what it interrupted between wait and wait_call to wait_interrupted.
    .globl pmemfile_preload_wait
    .type pmemfile_preload_wait, @function
pmemfile_preload_wait:
    .cfi_startproc
    movq 16(%rsp), %rax
    cmpl $0, (%rax)
    jne pmemfile_preload_wait_interrupted
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
    .globl pmemfile_preload_wait_call
    .hidden pmemfile_preload_wait_call
pmemfile_preload_wait_call:
    syscall
    ret
    .globl pmemfile_preload_wait_interrupted
pmemfile_preload_wait_interrupted:
    movq $-EINTR, %rax
    ret
    .cfi_endproc
    .size pmemfile_preload_wait, . - pmemfile_preload_wait

// Return from a signal handler that the program installed without a restorer
// cannot happen on x86-64; our own handlers return through this one.
    .globl pmemfile_preload_restore
    .type pmemfile_preload_restore, @function
    nop
pmemfile_preload_restore:
    movq $15, %rax
    syscall
    .size pmemfile_preload_restore, . - pmemfile_preload_restore

    .section .note.GNU-stack, "", @progbits
