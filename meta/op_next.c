/* op_next.c: what the program of the next level knows; only tests have it. It leaves a row, so that who doesn't apply
 * it has another state. */
#include "meta/store.h"

OP(next)
{
    (void)c;
    struct schema_key key = schema_next();
    row_level_encode(m->next_level, &m->scratch);
    bytes_u64(&m->scratch, m->next.applied);
    store_put_scratch(m, &key);
    return outcome(r, ERR_OK);
}
