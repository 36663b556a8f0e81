// Copies whose faults can be survived. General registers only: callers run inside hooks.
//
// At each faulting instruction rcx counts the bytes that are left, so that the fixup has only to return it. `rep
// movsb` keeps rcx exact when it faults; the non-temporal loop advances rcx after each eight bytes.

	.text

// u64 pmemfile_copy_cached(void *to /*rdi*/, const void *from /*rsi*/, u64 size /*rdx*/)
	.globl	pmemfile_copy_cached
	.hidden	pmemfile_copy_cached
	.type	pmemfile_copy_cached, @function
pmemfile_copy_cached:
	.cfi_startproc
	mov	%rdx, %rcx
	.globl	pmemfile_copy_cached_at
	.hidden	pmemfile_copy_cached_at
pmemfile_copy_cached_at:
	rep movsb
	.globl	pmemfile_copy_cached_fixup
	.hidden	pmemfile_copy_cached_fixup
pmemfile_copy_cached_fixup:
	mov	%rcx, %rax
	ret
	.cfi_endproc
	.size	pmemfile_copy_cached, . - pmemfile_copy_cached

// u64 pmemfile_copy_streaming(void *to, const void *from, u64 size): `to` is aligned to 8, size a multiple of 64.
	.globl	pmemfile_copy_streaming
	.hidden	pmemfile_copy_streaming
	.type	pmemfile_copy_streaming, @function
pmemfile_copy_streaming:
	.cfi_startproc
	mov	%rdx, %rcx
	jrcxz	2f
	.globl	pmemfile_copy_streaming_begin
	.hidden	pmemfile_copy_streaming_begin
pmemfile_copy_streaming_begin:
1:
	mov	(%rsi), %rax
	mov	8(%rsi), %rdx
	mov	16(%rsi), %r8
	mov	24(%rsi), %r9
	mov	32(%rsi), %r10
	movnti	%rax, (%rdi)
	movnti	%rdx, 8(%rdi)
	movnti	%r8, 16(%rdi)
	movnti	%r9, 24(%rdi)
	mov	40(%rsi), %rax
	mov	48(%rsi), %rdx
	mov	56(%rsi), %r8
	movnti	%r10, 32(%rdi)
	movnti	%rax, 40(%rdi)
	movnti	%rdx, 48(%rdi)
	movnti	%r8, 56(%rdi)
	add	$64, %rsi
	add	$64, %rdi
	sub	$64, %rcx
	jnz	1b
	.globl	pmemfile_copy_streaming_end
	.hidden	pmemfile_copy_streaming_end
pmemfile_copy_streaming_end:
2:
	mov	%rcx, %rax
	ret
	.cfi_endproc
	.size	pmemfile_copy_streaming, . - pmemfile_copy_streaming

	.section .note.GNU-stack, "", @progbits
