use equipoise::entropy::Bound;
use equipoise::sides::*;
use serde_json::Value;
fn nums(v:&Value)->Vec<f64>{v.as_array().unwrap().iter().map(|x|x.as_f64().unwrap_or(f64::INFINITY)).collect()}
fn main(){
  let path=std::env::args().nth(1).unwrap();
  let only:Option<i64>=std::env::args().nth(2).map(|x|x.parse().unwrap());
  let v:Value=serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
  let mut solver=SidesSolver::new();
  let mut its=vec![];
  for i in v["instances"].as_array().unwrap(){
    let id=i["id"].as_i64().unwrap();
    if let Some(o)=only { if o!=id {continue} solver.trace=true; }
    let d:Vec<_>=["bid","ask"].iter().map(|s|{let s=&i[*s];(nums(&s["u"]),nums(&s["m"]),s["h"].as_f64().unwrap(),nums(&s["rel_floor"]),nums(&s["rel_cap"]),nums(&s["abs_cap"]),s["Q"].as_f64().unwrap())}).collect();
    let side:Vec<Side>=d.iter().map(|d|Side{utility:&d.0,margin:&d.1,fill_probability:Bound::Scalar(1.0),entropy_min:d.2,share_floor:Bound::Each(&d.3),share_cap:Bound::Each(&d.4),size_cap:Bound::Each(&d.5),size_max:d.6,saturation:Saturation::None}).collect();
    let m=i["M"].as_f64().unwrap();
    let budget=if i["rule"]=="sum" {Budget{side:[f64::INFINITY;2],total:m}} else {Budget{side:[m;2],total:f64::INFINITY}};
    let p=Sides{side:[side[0],side[1]],budget,bid_share:Some([i["share_lo"].as_f64().unwrap(),i["share_hi"].as_f64().unwrap()]),inventory:None};
    let s=solver.solve(&p).unwrap();
    let obj=i["solution"]["obj"].as_f64().unwrap();
    its.push(s.iterations);
    let bad=(s.objective-obj).abs()/s.scale>1e-9||s.gap/s.scale>1e-8||s.violation>1e-10;
    println!("{id} {} {} obj {:.12} ref {:.12} rel {:.2e} gap {:.2e} viol {:.2e} it {} {}",i["family"],i["rule"],s.objective,obj,(s.objective-obj)/s.scale,s.gap/s.scale,s.violation,s.iterations,if bad{"BAD"}else{""});
  }
  its.sort(); println!("iterations {:?} med {} max {}",its.len(),its[its.len()/2],its[its.len()-1]);
  if only.is_none(){
    let t=std::time::Instant::now(); let _=t;
  }
}
