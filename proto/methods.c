#include "proto/methods.h"

const char *rpc_method_name(unsigned method)
{
    switch ((enum rpc_method)method) {
    case METHOD_RAFT:
        return "RAFT";
    case METHOD_META_CALL:
        return "META_CALL";
    case METHOD_META_QUERY:
        return "META_QUERY";
    case METHOD_META_KEEPALIVE:
        return "META_KEEPALIVE";
    case METHOD_META_NOTICES:
        return "META_NOTICES";
    case METHOD_META_CHANGES:
        return "META_CHANGES";
    case METHOD_META_KV_EVENTS:
        return "META_KV_EVENTS";
    case METHOD_META_DURABLE:
        return "META_DURABLE";
    case METHOD_BLOCK_PUT:
        return "BLOCK_PUT";
    case METHOD_BLOCK_GET:
        return "BLOCK_GET";
    case METHOD_BLOCK_HAS:
        return "BLOCK_HAS";
    case METHOD_BLOCK_SYNC:
        return "BLOCK_SYNC";
    case METHOD_BLOCK_INFO:
        return "BLOCK_INFO";
    case METHOD_BLOCK_SUSPECT:
        return "BLOCK_SUSPECT";
    case METHOD_BLOCK_SHORT:
        return "BLOCK_SHORT";
    case METHOD_BLOCK_INVENTORY:
        return "BLOCK_INVENTORY";
    case METHOD_BLOCK_REPORT:
        return "BLOCK_REPORT";
    case METHOD_ADMIN_STATE:
        return "ADMIN_STATE";
    case METHOD_ADMIN_CRASH:
        return "ADMIN_CRASH";
    case METHOD_ADMIN_RESTORE:
        return "ADMIN_RESTORE";
    case METHOD_ADMIN_LEADER:
        return "ADMIN_LEADER";
    case METHOD_ADMIN_HEARTBEAT:
        return "ADMIN_HEARTBEAT";
    case METHOD_ADMIN_UNREACHABLE:
        return "ADMIN_UNREACHABLE";
    case METHOD_ADMIN_MEMBERS:
        return "ADMIN_MEMBERS";
    case METHOD_ADMIN_COLLECT:
        return "ADMIN_COLLECT";
    case METHOD_ADMIN_BLOCKS:
        return "ADMIN_BLOCKS";
    case METHOD_ADMIN_EXPORT:
        return "ADMIN_EXPORT";
    case METHOD_ADMIN_CHECK:
        return "ADMIN_CHECK";
    case METHOD_ADMIN_REFERENCES:
        return "ADMIN_REFERENCES";
    case METHOD_ADMIN_FILES:
        return "ADMIN_FILES";
    }
    return "UNKNOWN";
}
