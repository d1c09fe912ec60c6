#include "proto/pack.h"

/* Whether a newer program has put fields into it, or into a message in it. */
static bool has_unknown(const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    if (m->n_unknown_fields > 0)
        return true;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const uint8_t *at = (const uint8_t *)m + f->offset, *quantifier = (const uint8_t *)m + f->quantifier_offset;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            const ProtobufCMessage *const *list = *(const ProtobufCMessage *const *const *)(const void *)at;
            size_t count = *(const size_t *)(const void *)quantifier;
            for (size_t k = 0; k < count; k++)
                if (has_unknown(list[k]))
                    return true;
            continue;
        }
        bool other = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)(const void *)quantifier != f->id;
        const ProtobufCMessage *inner = other ? NULL : *(const ProtobufCMessage *const *)(const void *)at;
        if (inner && has_unknown(inner))
            return true;
    }
    return false;
}

enum err wire_check_known(const ProtobufCMessage *m, const char *field, uint64_t op, uint64_t op_last,
                          struct err_text *why)
{
    if (op > op_last)
        return err_explain(why, ERR_LEVEL, "%s is %llu, this program knows up to %llu: a newer one is needed", field,
                           (unsigned long long)op, (unsigned long long)op_last);
    if (has_unknown(m))
        return err_explain(why, ERR_LEVEL, "%s is %llu, with fields that only a newer program knows", field,
                           (unsigned long long)op);
    return ERR_OK;
}
