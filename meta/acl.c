#include "meta/acl.h"

#include "base/check.h"

#define VERSION 2u
#define ID_NONE UINT32_MAX
#define PERMISSIONS 7u

static uint32_t get_le(const uint8_t *p, unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << (8 * i);
    return v;
}

static void put_le(struct bytes *to, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        bytes_u8(to, (uint8_t)(v >> (8 * i)));
}

/* Tags are single bits that rise; those that a list has once must not come again. */
static enum err validate(const struct acl *a)
{
    unsigned seen = 0;
    const unsigned named = ACL_TAG_USER | ACL_TAG_GROUP, needed = ACL_TAG_USER_OBJ | ACL_TAG_GROUP_OBJ | ACL_TAG_OTHER;
    for (unsigned i = 0; i < a->count; i++) {
        unsigned tag = a->entries[i].tag;
        bool is_tag = tag != 0 && (tag & (tag - 1)) == 0 && tag <= ACL_TAG_OTHER;
        if (!is_tag || a->entries[i].permissions > PERMISSIONS || seen >= tag * 2 || ((seen & tag) && !(tag & named)))
            return ERR_INVAL;
        if ((tag & named) && a->entries[i].id == ID_NONE)
            return ERR_INVAL;
        seen |= tag;
    }
    if (a->count > 0 && (seen & needed) != needed)
        return ERR_INVAL;
    return (seen & named) && !(seen & ACL_TAG_MASK) ? ERR_INVAL : ERR_OK;
}

enum err acl_decode(struct slice s, struct acl *ret)
{
    if (s.size < 4 || (s.size - 4) % 8 != 0 || (s.size - 4) / 8 > ACL_ENTRIES_MAX || get_le(s.data, 4) != VERSION)
        return ERR_INVAL;
    ret->count = (unsigned)((s.size - 4) / 8);
    for (unsigned i = 0; i < ret->count; i++) {
        const uint8_t *p = s.data + 4 + i * 8;
        ret->entries[i] = (struct acl_entry){
            .tag = (uint16_t)get_le(p, 2), .permissions = (uint16_t)get_le(p + 2, 2), .id = get_le(p + 4, 4)};
    }
    return validate(ret);
}

void acl_encode(const struct acl *a, struct bytes *to)
{
    put_le(to, VERSION, 4);
    for (unsigned i = 0; i < a->count; i++) {
        const struct acl_entry *e = &a->entries[i];
        put_le(to, e->tag, 2);
        put_le(to, e->permissions, 2);
        put_le(to, e->tag == ACL_TAG_USER || e->tag == ACL_TAG_GROUP ? e->id : ID_NONE, 4);
    }
}

static struct acl_entry *find(struct acl *a, enum acl_tag tag)
{
    for (unsigned i = 0; i < a->count; i++)
        if (a->entries[i].tag == tag)
            return &a->entries[i];
    return NULL;
}

/* The entry that the mode's group bits stand for. */
static struct acl_entry *group_class(struct acl *a)
{
    struct acl_entry *mask = find(a, ACL_TAG_MASK);
    return mask ? mask : find(a, ACL_TAG_GROUP_OBJ);
}

bool acl_is_mode(const struct acl *a)
{
    for (unsigned i = 0; i < a->count; i++)
        if (a->entries[i].tag & (ACL_TAG_USER | ACL_TAG_GROUP | ACL_TAG_MASK))
            return false;
    return true;
}

struct classes {
    struct acl_entry *user, *group, *other;
};

static struct classes classes_of(struct acl *a)
{
    struct classes c = {find(a, ACL_TAG_USER_OBJ), group_class(a), find(a, ACL_TAG_OTHER)};
    CHECK(c.user && c.group && c.other);
    return c;
}

static uint32_t mode_of(const struct classes *c)
{
    return (uint32_t)c->user->permissions << 6 | (uint32_t)c->group->permissions << 3 | c->other->permissions;
}

uint32_t acl_mode(const struct acl *a)
{
    struct acl copy = *a;
    struct classes c = classes_of(&copy);
    return mode_of(&c);
}

void acl_set_mode(struct acl *a, uint32_t mode)
{
    struct classes c = classes_of(a);
    c.user->permissions = mode >> 6 & PERMISSIONS;
    c.group->permissions = mode >> 3 & PERMISSIONS;
    c.other->permissions = mode & PERMISSIONS;
}

void acl_of_mode(struct acl *a, uint32_t mode)
{
    *a = (struct acl){.count = 3,
                      .entries = {{.tag = ACL_TAG_USER_OBJ}, {.tag = ACL_TAG_GROUP_OBJ}, {.tag = ACL_TAG_OTHER}}};
    acl_set_mode(a, mode);
}

static bool is_member(const struct acl_subject *s, uint32_t group)
{
    for (unsigned i = 0; i < s->group_count; i++)
        if (s->groups[i] == group)
            return true;
    return false;
}

/* The first entry that is of the user counts; of the groups, any that grants it all. */
bool acl_permits(const struct acl *a, const struct acl_subject *s, unsigned wanted)
{
    unsigned mask = PERMISSIONS;
    bool has_group = false;
    for (unsigned i = 0; i < a->count; i++)
        if (a->entries[i].tag == ACL_TAG_MASK)
            mask = a->entries[i].permissions;
    for (unsigned i = 0; i < a->count; i++) {
        const struct acl_entry *e = &a->entries[i];
        bool grants = (e->permissions & wanted) == wanted;
        switch (e->tag) {
        case ACL_TAG_USER_OBJ:
            if (s->uid == s->owner)
                return grants;
            break;
        case ACL_TAG_USER:
            if (s->uid == e->id)
                return grants && (mask & wanted) == wanted;
            break;
        case ACL_TAG_GROUP_OBJ:
        case ACL_TAG_GROUP:
            if (!is_member(s, e->tag == ACL_TAG_GROUP ? e->id : s->group))
                break;
            if (grants)
                return (mask & wanted) == wanted;
            has_group = true;
            break;
        case ACL_TAG_OTHER:
            return grants && !has_group;
        default:
            break;
        }
    }
    return false;
}

void acl_inherit(struct acl *a, uint32_t *mode)
{
    struct classes c = classes_of(a);
    acl_set_mode(a, mode_of(&c) & *mode);
    *mode = (*mode & ~UINT32_C(0777)) | mode_of(&c);
}
