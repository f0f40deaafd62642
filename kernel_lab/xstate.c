/*
 * Loaded into linux.uml 6.1 by LD_PRELOAD. It saves and restores a process's floating point registers by ptrace(2) into a buffer of
 * a fixed size, and newer processors (AVX-512, AMX) have more: PTRACE_SETREGSET of NT_X86_XSTATE fails with anything less than all of
 * it. This ptrace reads all, gives the buffer its part, and keeps the rest by the buffer's address until it is written back.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LARGEST = 16384, SLOTS = 1 << 16, XSTATE_BV = 512, X87_SSE_AVX = 7 };

struct rest {
	void *buffer;
	unsigned char *octets;
};

static struct rest rests[SLOTS];
static unsigned char whole[LARGEST] __attribute__((aligned(64)));
static size_t whole_length;

static long call(long request, long pid, long kind, void *data)
{
	return syscall(SYS_ptrace, request, pid, kind, data);
}

/* The place of a buffer's rest; NULL when all places are taken. */
static struct rest *place_of(void *buffer)
{
	size_t at = ((uintptr_t)buffer >> 6) * 2654435761u % SLOTS;

	for (int looked = 0; looked < SLOTS; looked++, at = (at + 1) % SLOTS)
		if (rests[at].buffer == buffer || !rests[at].buffer)
			return &rests[at];
	return NULL;
}

static long read_whole(long pid)
{
	struct iovec all = { whole, LARGEST };
	long result = call(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all);

	if (result >= 0)
		whole_length = all.iov_len;
	return result;
}

static long get(long pid, struct iovec *wanted)
{
	long result = read_whole(pid);
	struct rest *place;

	if (result < 0)
		return result;
	if (wanted->iov_len >= whole_length) {
		wanted->iov_len = whole_length;
	} else if ((place = place_of(wanted->iov_base))) {
		size_t length = whole_length - wanted->iov_len;

		if (!place->octets)
			place->octets = malloc(LARGEST);
		if (place->octets) {
			place->buffer = wanted->iov_base;
			memcpy(place->octets, whole + wanted->iov_len, length);
		}
	}
	memcpy(wanted->iov_base, whole, wanted->iov_len);
	return result;
}

static long set(long pid, struct iovec *given)
{
	size_t length = given->iov_len;
	struct rest *place;

	if (!whole_length && read_whole(pid) < 0)
		return -1;
	memcpy(whole, given->iov_base, length < whole_length ? length : whole_length);
	if (length < whole_length) {
		place = place_of(given->iov_base);
		if (place && place->buffer) {
			memcpy(whole + length, place->octets, whole_length - length);
		} else { /* never read into this buffer: only what it holds is in use */
			memset(whole + length, 0, whole_length - length);
			*(uint64_t *)(whole + XSTATE_BV) &= X87_SSE_AVX;
		}
	}
	return call(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &(struct iovec){ whole, whole_length });
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	long pid, kind, result, word;
	void *data;

	va_start(rest, request);
	pid = va_arg(rest, int);
	kind = va_arg(rest, long);
	data = va_arg(rest, void *);
	va_end(rest);
	if (request == PTRACE_GETREGSET && kind == NT_X86_XSTATE)
		return get(pid, data);
	if (request == PTRACE_SETREGSET && kind == NT_X86_XSTATE)
		return set(pid, data);
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		/* ptrace(2): the C library returns the word, the kernel stores it. */
		result = call(request, pid, kind, &word);
		if (result < 0)
			return result;
		errno = 0;
		return word;
	}
	return call(request, pid, kind, data);
}
