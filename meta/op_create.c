#include <sys/stat.h>

#include "meta/store.h"

OP(create)
{
    return make_entry(m, c, S_IFREG | (c->make.mode & 07777), r);
}
