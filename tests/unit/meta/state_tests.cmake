foreach(noun extent rows names contents sessions durability snapshot describe)
    surf_test(unit_meta_${noun} SOURCES test_${noun}.c commands.c USES meta_fixture surf_meta surf_base
              PkgConfig::ROCKSDB)
endforeach()
