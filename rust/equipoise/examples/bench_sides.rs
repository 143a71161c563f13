use equipoise::entropy::{Bound,SideProblem,SideSolver};
use equipoise::sides::*;
use std::time::Instant;
struct S{u:Vec<f64>,m:Vec<f64>,l:Vec<f64>,cap:Vec<f64>}
fn side(k:usize,sign:f64,seed:usize)->S{
  let price=27.11;let lev=10.0;let mut u=vec![];let mut m=vec![];let mut l=vec![];
  for i in 0..k{let d=2.0*16f64.powf(i as f64/(k.max(2)-1) as f64);let lam=1.0-(-3.0*(-0.15*d).exp()).exp();let e=d-3.0*(-d/8.0).exp()-1.5;
   u.push(lam*e*price*1e-4*(1.0+0.2*((i*7+seed*13) as f64).sin()));m.push(price*(1.0+sign*d*1e-4)/lev);l.push(lam);}
  S{u,m,l,cap:vec![146.0;k]}
}
fn main(){
 let mode=std::env::args().nth(1).unwrap_or("plain".into());
 for k in [10usize,25,50]{
  let b=side(k,-1.0,1);let a=side(k,1.0,2);
  let cap:Vec<f64>=if mode=="caps"{vec![73.0*2.0/k as f64;k]}else{b.cap.clone()};
  let h=0.75*(k as f64).ln();
  let inv=if mode=="eta"{Some(Inventory{position:40.0,price_of_risk:2.2e-5,fill_variance:false})}else{None};
  fn st<'a>(s:&'a S,h:f64,cap:&'a [f64])->Side<'a>{Side{utility:&s.u,margin:&s.m,fill_probability:Bound::Each(&s.l),entropy_min:h,share_floor:Bound::Scalar(0.0),share_cap:Bound::Scalar(1.0),size_cap:Bound::Each(cap),size_max:146.62,saturation:Saturation::None}}
  let p=Sides{side:[st(&b,h,&cap),st(&a,h,&cap)],budget:Budget{side:[f64::INFINITY;2],total:397.49},bid_share:if mode=="eta"{None}else{Some([0.3,0.7])},inventory:inv};
  let mut s=SidesSolver::new();let mut one=SideSolver::new();
  let q=SideProblem{utility:&b.u,entropy_min:h,floor:Bound::Scalar(0.0),cap:Bound::Scalar(1.0)};
  let n=2000;let mut best=[f64::INFINITY;2];let mut it=0;let mut gap=0.0;
  for _ in 0..15{
   let t=Instant::now();for _ in 0..n{let r=s.solve(std::hint::black_box(&p)).unwrap();it=r.iterations;gap=r.gap/r.scale;}best[0]=best[0].min(t.elapsed().as_secs_f64()/n as f64);
   let t=Instant::now();for _ in 0..n{one.solve(std::hint::black_box(&q)).unwrap();}best[1]=best[1].min(t.elapsed().as_secs_f64()/n as f64);
  }
  println!("{mode} K={k} sides {:.2} us  it {it} gap {gap:.1e} P1 {:.3} us",best[0]*1e6,best[1]*1e6);
 }
}
