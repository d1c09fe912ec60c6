#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum err_class err_class(enum err e)
{
#define CLASS(class) ERR_CLASS_##class
    switch (e) {
#define X(name, number, class, text)                                                                                   \
    case ERR_##name:                                                                                                   \
        return CLASS(class);
        ERR_LIST(X)
#undef X
#undef CLASS
    }
    return ERR_CLASS_FINAL;
}

const char *err_name(enum err e)
{
    switch (e) {
#define X(name, number, class, text)                                                                                   \
    case ERR_##name:                                                                                                   \
        return #name;
        ERR_LIST(X)
#undef X
    }
    return "UNKNOWN";
}

const char *err_message(enum err e)
{
    switch (e) {
#define X(name, number, class, text)                                                                                   \
    case ERR_##name:                                                                                                   \
        return text;
        ERR_LIST(X)
#undef X
    }
    return "unknown error";
}

enum err err_from_wire(unsigned number)
{
    switch (number) {
#define X(name, value, class, text)                                                                                    \
    case value:                                                                                                        \
        return ERR_##name;
        ERR_LIST(X)
#undef X
    }
    return ERR_IO;
}

static const struct {
    int errnum;
    enum err e;
} errno_pairs[] = {
    {0, ERR_OK},
    {EPERM, ERR_PERM},
    {ENOENT, ERR_NOENT},
    {EEXIST, ERR_EXIST},
    {ENOTDIR, ERR_NOTDIR},
    {EISDIR, ERR_ISDIR},
    {ENOTEMPTY, ERR_NOTEMPTY},
    {EINVAL, ERR_INVAL},
    {ENAMETOOLONG, ERR_NAMETOOLONG},
    {ENOSPC, ERR_NOSPC},
    {EDQUOT, ERR_NOSPC},
    {EFBIG, ERR_FBIG},
    {EMLINK, ERR_MLINK},
    {EXDEV, ERR_XDEV},
    {EACCES, ERR_ACCES},
    {ESTALE, ERR_STALE},
    {ENODATA, ERR_NODATA},
    {ERANGE, ERR_RANGE},
    {EROFS, ERR_ROFS},
    {EOPNOTSUPP, ERR_NOTSUP},
    /* Not ENOSYS, which the kernel remembers as long as a mount lives: the level may rise meanwhile. */
    {EOPNOTSUPP, ERR_LEVEL},
    {EBUSY, ERR_BUSY},
    {EBADF, ERR_BADF},
    {ELOOP, ERR_LOOP},
    {EINTR, ERR_INTR},
    {EDEADLK, ERR_DEADLK},
    {EAGAIN, ERR_AGAIN},
    {EAGAIN, ERR_WOULD_BLOCK},
    {ENOLCK, ERR_NOLCK},
    {ECONNREFUSED, ERR_UNREACHABLE},
    {EHOSTUNREACH, ERR_UNREACHABLE},
    {ENETUNREACH, ERR_UNREACHABLE},
    {ECONNRESET, ERR_CLOSED},
    {EPIPE, ERR_CLOSED},
    {ETIMEDOUT, ERR_TIMEOUT},
    {ENOMEM, ERR_NOMEM},
    {EADDRINUSE, ERR_EXISTS_IN_USE},
};

enum err err_from_errno(int errnum)
{
    for (size_t i = 0; i < sizeof errno_pairs / sizeof errno_pairs[0]; i++)
        if (errno_pairs[i].errnum == errnum)
            return errno_pairs[i].e;
    return ERR_IO;
}

int err_to_errno(enum err e)
{
    for (size_t i = 0; i < sizeof errno_pairs / sizeof errno_pairs[0]; i++)
        if (errno_pairs[i].e == e)
            return errno_pairs[i].errnum;
    return e == ERR_CANCELLED ? EINTR : EIO;
}

enum err err_explain(struct err_text *why, enum err e, const char *format, ...)
{
    if (!why)
        return e;
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return e;
}
