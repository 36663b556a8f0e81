/*
 * The names of libcintercept under the header that programs written for its
 * predecessor include.
 */
#ifndef LIBSYSCALL_INTERCEPT_HOOK_POINT_H
#define LIBSYSCALL_INTERCEPT_HOOK_POINT_H
#include "libcintercept.h"
#endif
