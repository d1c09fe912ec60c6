#include "blockstore/collect.h"

#include "base/plant.h"

uint64_t collect_limit(uint64_t answer_epoch)
{
    if (PLANTED(COLLECT_LIMIT_OFF_BY_ONE))
        return answer_epoch;
    return answer_epoch > 0 ? answer_epoch - 1 : 0;
}

uint64_t collect_stray_limit(uint64_t asked_touch)
{
    return PLANTED(COLLECT_STRAY_TOUCHED) ? UINT64_MAX : asked_touch + 1;
}

bool collect_is_due(const struct collect_past *past, const struct collect_news *news, int64_t now_ns,
                    int64_t interval_ns)
{
    if (news->epoch == 0)
        return false;
    if (past->epoch == 0 || now_ns - past->ended_ns >= interval_ns)
        return true;
    return news->epoch > past->epoch && (news->released != past->released || past->waiting > 0);
}
