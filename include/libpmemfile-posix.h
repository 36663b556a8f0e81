/* The name that programs written for the renamed library ask for. */
#ifndef LIBPMEMFILE_POSIX_H
#define LIBPMEMFILE_POSIX_H 1

#include "libpmemfile-core.h"

#endif
