#include <sys/stat.h>

#include "meta/store.h"

OP(symlink)
{
    return make_entry(m, c, S_IFLNK | 0777, r);
}
