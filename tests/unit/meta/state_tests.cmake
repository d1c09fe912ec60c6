foreach(noun extent rows names contents sessions durability damage snapshot describe)
    surf_test(unit_meta_${noun} SOURCES test_${noun}.c commands.c steps.c USES meta_fixture surf_meta surf_base
              PkgConfig::ROCKSDB)
endforeach()
