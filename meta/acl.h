/* acl.h: arithmetic of POSIX access control lists, pure: what acl(5) and POSIX.1e draft 17 say of how lists and mode
 * bits follow each other. The encoded form is the value of the extended attributes that hold them, as the kernel has it
 * (linux/posix_acl_xattr.h): version 2, then tag, permissions and id of each entry, little-endian. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

/* What the kernel reads into one page. */
#define ACL_ENTRIES_MAX ((4096u - 4u) / 8u)

enum acl_tag {
    ACL_TAG_USER_OBJ = 0x01,
    ACL_TAG_USER = 0x02,
    ACL_TAG_GROUP_OBJ = 0x04,
    ACL_TAG_GROUP = 0x08,
    ACL_TAG_MASK = 0x10,
    ACL_TAG_OTHER = 0x20
};
struct acl_entry {
    uint16_t tag, permissions; /* permissions <= 7 */
    uint32_t id;               /* of USER and GROUP */
};
/* In the order of the tags; one each of USER_OBJ, GROUP_OBJ and OTHER, and a MASK when there are USER or GROUP. Or
 * nothing at all, which is no list. */
struct acl {
    unsigned count;
    struct acl_entry entries[ACL_ENTRIES_MAX];
};

/* INVAL for what is none. */
enum err acl_decode(struct slice s, struct acl *ret) MUST_USE;
void acl_encode(const struct acl *a, struct bytes *to);
/* It says no more than mode bits do. */
bool acl_is_mode(const struct acl *a);
/* The nine permission bits that go with an access list: the group's are the mask's. */
uint32_t acl_mode(const struct acl *a);
/* chmod(2): the list follows the mode. */
void acl_set_mode(struct acl *a, uint32_t mode);
/* The list of a file that has none. */
void acl_of_mode(struct acl *a, uint32_t mode);
/* Of the file and of who wants something of it. */
struct acl_subject {
    uint32_t owner, group;
    uint32_t uid;
    const uint32_t *groups; /* all that uid is in */
    unsigned group_count;
};
/* Whether the list grants all of `wanted` (bits 4, 2, 1), as acl(5) says. That root may do everything it doesn't know.
 */
bool acl_permits(const struct acl *a, const struct acl_subject *s, unsigned wanted);
/* A default list becomes the access list of something new: neither it nor the mode grants more than the other. */
void acl_inherit(struct acl *a, uint32_t *mode);
